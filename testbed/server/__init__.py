"""RUN the application under test: a process on a server host (``python -m testbed.server JSON``).

The parent starts it with `ServerConfig` and waits with `wait_until_ready`.
"""

from testbed.server.config import ServerConfig

__all__ = ["ServerConfig"]
