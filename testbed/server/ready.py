"""What a server process tells its parent once: that it listens, and what it runs."""

from __future__ import annotations

import os
from typing import Literal

from testbed.server.config import ServerConfig

Interface = Literal["ASGI", "WSGI"]


def tell_ready(config: ServerConfig, interface: Interface = "ASGI") -> None:
    """Writes the application's interface as one line to the pipe that the parent waits for."""
    if config.ready_fd is None:
        return
    os.write(config.ready_fd, interface.encode() + b"\n")
    os.close(config.ready_fd)
