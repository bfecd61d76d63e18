"""RUN the clients: a process on a client host (``python -m testbed.load CONFIG_JSON``).

The parent starts it with `LoadConfig` and follows it as `testbed.load.progress` says.
"""

from testbed.load.config import LoadConfig

__all__ = ["LoadConfig"]
