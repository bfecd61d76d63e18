"""Uvicorn on asyncio, with h11: HTTP/1.1, TLS; websockets with wsproto, as Hypercorn has them.

Rules:

- The protocol is h11, that of websockets wsproto's, and the loop asyncio's own, whatever other
  packages happen to be installed: what runs is what the recording says.
- The stop and its grace are those of the other servers: it accepts no more, lets requests go on for
  `graceful_timeout_ns`, cancels them, shuts down what is left, and runs the lifespan shutdown.

Why each setting:

- `timeout_keep_alive`: Uvicorn closes an idle connection after 5 s, which looks like a reconnect of
  the client's making.
- `proxy_headers`: off; nothing stands between clients and server that would set them.
- `server_header` and `date_header` stay as they are: they are what a user's deployment sends.
- `log_config`: None; what goes wrong comes to standard error by Python's last resort.
- `access_log`: off; the ASGI probe sees more and costs less.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from testbed.server.application import Loaded
from testbed.server.asyncio_process import end_connections, run_on_asyncio
from testbed.server.config import ServerConfig
from testbed.server.lifespan import LifespanWatch, lifespan_error
from testbed.server.listening import listening_sockets, url_of
from testbed.server.probes import ServerProbes
from testbed.server.ready import tell_ready
from testbed.units import NS_PER_S

_MORE_S: Final = 1.0
"""Uvicorn looks for a stop and for the end of its connections ten times a second."""


class _Server(uvicorn.Server):
    """Uvicorn, which leaves signals to this process and says when it listens."""

    def __init__(self, config: uvicorn.Config, listening: asyncio.Event) -> None:
        super().__init__(config)
        self._listening = listening

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening.set()


def uvicorn_config(config: ServerConfig, application: Any) -> uvicorn.Config:
    """Uvicorn's configuration for this server; see *Why each setting*."""
    tls = None if config.tls_fd is None else f"/proc/self/fd/{config.tls_fd}"
    return uvicorn.Config(
        application,
        loop="none",
        http="h11",
        ws="wsproto",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        backlog=config.backlog,
        timeout_keep_alive=config.keep_alive_timeout_ns // NS_PER_S,
        timeout_graceful_shutdown=max(1, config.graceful_timeout_ns // NS_PER_S),
        ssl_certfile=tls,
        ssl_keyfile=tls,
    )


def run(loaded: Loaded, config: ServerConfig, probes: ServerProbes) -> None:
    """Runs the server until it is told to stop.

    Raises:
        ProcessError: an address cannot be listened on, or the application's lifespan failed.
        MachineError: a buffer cannot be had.
    """
    sockets = probes.observed(listening_sockets(config))
    urls = [url_of(bound, config) for bound in sockets]
    ports = {bound.getsockname()[1] for bound in sockets}
    watch = LifespanWatch(probes.around(loaded.asgi))
    grace_s = config.graceful_timeout_ns / NS_PER_S

    async def serve(told_to_stop: asyncio.Event) -> None:
        listening = asyncio.Event()
        server = _Server(uvicorn_config(config, watch), listening)

        async def serve_all() -> None:
            try:
                await server.serve(sockets)
            except SystemExit as error:  # how it ends when the startup failed
                raise lifespan_error(config, f"failed its startup: {watch.reason}") from error

        serving = asyncio.ensure_future(serve_all())
        waiting = [asyncio.ensure_future(event.wait()) for event in (listening, told_to_stop)]
        tasks = [serving, *waiting]
        try:
            await asyncio.wait(
                tasks,
                timeout=config.startup_timeout_ns / NS_PER_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if serving.done():
                await serving
            if told_to_stop.is_set():
                return
            if not listening.is_set():
                raise lifespan_error(config, "did not complete its startup in time")
            for url in urls:
                print(f"Running on {url}", file=sys.stderr, flush=True)
            tell_ready(config)
            await asyncio.wait({serving, waiting[1]}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            tasks.append(asyncio.ensure_future(end_connections(grace_s, ports)))
            await asyncio.wait_for(serving, 2 * grace_s + _MORE_S)
        except TimeoutError as error:
            raise lifespan_error(config, "did not complete its shutdown in time") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run_on_asyncio(serve, probes)
