"""Hypercorn on asyncio: HTTP/1.1, HTTP/2, TLS.

Rules:

- Its settings are those of Hypercorn on trio (`testbed.server.hypercorn_settings`), and so are the
  stop and its grace.
- An application whose startup failed or hangs is never listened for.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Sockets
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError

from testbed.server.application import Loaded
from testbed.server.asyncio_process import end_connections, run_on_asyncio
from testbed.server.config import ServerConfig
from testbed.server.hypercorn_settings import hypercorn_config
from testbed.server.lifespan import LifespanWatch, lifespan_error
from testbed.server.listening import listening_sockets
from testbed.server.probes import ServerProbes
from testbed.server.ready import tell_ready


def run(loaded: Loaded, config: ServerConfig, probes: ServerProbes) -> None:
    """Runs the server until it is told to stop.

    Raises:
        ProcessError: an address cannot be listened on, or the application's lifespan failed.
        MachineError: a buffer cannot be had.
    """
    sockets = probes.observed(listening_sockets(config))
    ports = {bound.getsockname()[1] for bound in sockets}
    made = hypercorn_config(config, [bound.fileno() for bound in sockets])
    listening = Sockets([], sockets, []) if config.tls_fd is None else Sockets(sockets, [], [])
    watch = LifespanWatch(probes.around(loaded.asgi))
    stage: Literal["startup", "service", "shutdown"] = "startup"

    async def serve(told_to_stop: asyncio.Event) -> None:
        ending: list[asyncio.Task[None]] = []

        async def trigger() -> None:
            nonlocal stage
            stage = "service"
            tell_ready(config)
            await told_to_stop.wait()
            stage = "shutdown"
            ending.append(asyncio.ensure_future(end_connections(made.graceful_timeout, ports)))

        serving = asyncio.ensure_future(
            # Its `serve` would make plain sockets of the descriptors.
            worker_serve(
                ASGIWrapper(watch),  # type: ignore[arg-type]  # it types messages by kind
                made,
                sockets=listening,
                shutdown_trigger=trigger,
            )
        )
        told = asyncio.ensure_future(told_to_stop.wait())
        try:
            await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
            if stage == "startup" and not serving.done():
                return  # told to stop before the application has started
            await serving
        except LifespanTimeoutError as error:
            raise lifespan_error(config, f"did not complete its {stage} in time") from error
        except LifespanFailureError as error:
            raise lifespan_error(config, f"failed its {stage}: {watch.reason}") from error
        finally:
            for task in (serving, told, *ending):
                task.cancel()
            await asyncio.gather(serving, told, *ending, return_exceptions=True)

    run_on_asyncio(serve, probes)
