"""The standard library's server with a thread for each connection; no event loop.

``wsgiref.simple_server`` with ``socketserver.ThreadingMixIn``. There is no limit on threads but
memory and descriptors. See `testbed.server.wsgi`.
"""

from __future__ import annotations

import time
from socketserver import ThreadingMixIn
from threading import Thread, enumerate, main_thread
from typing import Final

from testbed.server.application import Loaded
from testbed.server.config import ServerConfig
from testbed.server.listening import shut_down_all
from testbed.server.probes import ServerProbes
from testbed.server.wsgi import POLL_S, BlockingServer, run_blocking

_AFTER_GRACE_S: Final = 0.5


class _ThreadedServer(ThreadingMixIn, BlockingServer):
    multithread = True
    daemon_threads = True

    def wait_for_handlers(self, grace_s: float) -> None:
        """Waits for the threads for the grace, then shuts their connections down."""
        _wait(grace_s)
        shut_down_all({self.server_port})
        _wait(_AFTER_GRACE_S)


def _wait(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _handlers() and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _handlers() -> list[Thread]:
    return [thread for thread in enumerate() if thread is not main_thread()]


def run(loaded: Loaded, config: ServerConfig, probes: ServerProbes) -> None:
    """Runs the server until it is told to stop.

    Raises:
        ProcessError, MachineError, RequestError: see `run_blocking`.
    """
    run_blocking(_ThreadedServer, loaded, config, probes)
