"""OBSERVE: one module per layer, with the names of `testbed.events`.

A probe copies what it sees into a segment and decodes nothing. `testbed.server` and `testbed.load`
may import probes (their event loop, ASGI and HTTP probes run inside them); probes import neither.
"""
