"""The wire as a process between TAP devices: the `relay` backend.

wire.py     what becomes of each packet   (pure: takes time, number and size)
streams.py  counter-based random numbers  (pure)
taps.py     opens TAP devices in the nodes' namespaces
forwarder.py  moves frames and logs them
config.py   what the process is told
"""
