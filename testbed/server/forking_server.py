"""The standard library's server with a process for each connection; no event loop.

``wsgiref.simple_server`` with ``socketserver.ForkingMixIn``. See `testbed.server.wsgi`.

Rules:

- `max_children`: ``socketserver`` stops accepting at 40 processes, without a word. Here the bound
  is one that no run comes to.
- A child has nothing of the parent's to stop it: at the parent's stop it has the grace, then
  SIGTERM, which ends its application with SystemExit, so that its exchange is recorded.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from socketserver import ForkingMixIn
from typing import Any, Final

from testbed.server.application import Loaded
from testbed.server.config import ServerConfig
from testbed.server.probes import ServerProbes
from testbed.server.wsgi import POLL_S, BlockingServer, run_blocking

MOST_CHILDREN: Final = 4096
_AFTER_GRACE_S: Final = 0.5


class _ForkingServer(ForkingMixIn, BlockingServer):
    multiprocess = True
    max_children = MOST_CHILDREN
    block_on_close = False

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Handles the connection, in a child."""
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        super().finish_request(request, client_address)

    def wait_for_handlers(self, grace_s: float) -> None:
        """Waits for the children for the grace, then ends them."""
        self._wait(grace_s)
        for child in set(self.active_children or ()):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        self._wait(_AFTER_GRACE_S)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self.collect_children()
        while self.active_children and time.monotonic() < deadline:
            time.sleep(POLL_S)
            self.collect_children()


def _leave(_number: int, _frame: Any) -> None:
    sys.exit("ended by the server's stop")


def run(loaded: Loaded, config: ServerConfig, probes: ServerProbes) -> None:
    """Runs the server until it is told to stop.

    Raises:
        ProcessError, MachineError, RequestError: see `run_blocking`.
    """
    run_blocking(_ForkingServer, loaded, config, probes)
