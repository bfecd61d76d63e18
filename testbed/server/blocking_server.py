"""The standard library's server as it is: one process, one connection at a time; no event loop.

While a connection is handled, from its first byte to its last, all others wait in the accept queue
(``wsgiref.simple_server``). See `testbed.server.wsgi`.
"""

from __future__ import annotations

import time
from threading import Thread

from testbed.server.application import Loaded
from testbed.server.config import ServerConfig
from testbed.server.listening import shut_down_all
from testbed.server.probes import ServerProbes
from testbed.server.wsgi import POLL_S, BlockingServer, Told, run_blocking
from testbed.units import NS_PER_S


def run(loaded: Loaded, config: ServerConfig, probes: ServerProbes) -> None:
    """Runs the server until it is told to stop.

    Raises:
        ProcessError, MachineError, RequestError: see `run_blocking`.
    """

    def begin(server: BlockingServer, told: Told) -> None:
        # The one thread there is may wait for a client that never reads: somebody else must look.
        def end_connections() -> None:
            while not told():
                time.sleep(POLL_S)
            time.sleep(config.graceful_timeout_ns / NS_PER_S)
            shut_down_all({server.server_port})

        Thread(target=end_connections, daemon=True).start()

    run_blocking(BlockingServer, loaded, config, probes, begin)
