"""WHAT was seen: frozen types, in a module per layer; each type is one row of a Parquet table.

All times are CLOCK_MONOTONIC nanoseconds. A field that can be None could not be seen in that row:
never zero.
"""

LAYERS = (
    "link", "nic", "qdisc", "ip", "tcp", "socket", "syscall", "event_loop", "asgi", "http",
)  # fmt: skip
"""The ten layers, bottom to top."""
