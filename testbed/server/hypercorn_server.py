"""Hypercorn on trio, the reference: HTTP/1.1, HTTP/2, TLS; all probes.

With no decisions of its own behind the experiment's back; of Hypercorn 0.18.

Rules:

- The parent's stop (see `testbed.child`) triggers Hypercorn's graceful end: it accepts no more,
  lets requests go on for `graceful_timeout_ns`, then cancels them and runs the application's
  lifespan shutdown.
- Hypercorn sends inside a shielded cancel scope (hypercorn/trio/tcp_server.py, protocol_send), so
  that a client that does not read would hold up the end for ever. Once the grace is over the
  remaining connections are shut down, which ends those sends with BrokenResourceError; the
  applications above them then end too, and their exchanges are recorded.

- When an application's startup fails, Hypercorn 0.18 still listens for a moment before it ends
  (hypercorn/trio/lifespan.py sets `startup` either way), and a server that listens is taken to be
  ready. It is therefore ended before it learns of the failure.

- An application that returns from `lifespan` without a word is one that does without it, like one
  that raises (asgi.readthedocs.io/en/latest/specs/lifespan.html, "Scope").

Its settings: `testbed.server.hypercorn_settings`.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final, Literal

import hypercorn.trio
import trio
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError

from testbed.child import Flushable, keep_flushed, leaves, read_stdin, wait_for_signal
from testbed.probes.asgi import Application, Message, Receive, Scope, Send
from testbed.probes.syscall import SyscallProbe
from testbed.server.application import Loaded
from testbed.server.config import ServerConfig
from testbed.server.hypercorn_settings import hypercorn_config
from testbed.server.lifespan import lifespan_error
from testbed.server.listening import listening_sockets, shut_down_all
from testbed.server.observed_listeners import observed_listeners
from testbed.server.probes import ServerProbes
from testbed.server.ready import tell_ready

_AFTER_GRACE_S: Final = 0.1


def run(loaded: Loaded, config: ServerConfig, probes: ServerProbes) -> None:
    """Runs the server until it is told to stop.

    Raises:
        ProcessError, MachineError: see `serve`.
    """
    instruments = [] if probes.trio_loop is None else [probes.trio_loop]
    application = probes.around(loaded.asgi)
    trio.run(_run, application, config, probes.segments, probes.syscall, instruments=instruments)


async def _run(
    application: Application,
    config: ServerConfig,
    segments: list[Flushable],
    syscall: SyscallProbe | None,
) -> None:
    if syscall is not None:
        trio.socket.set_custom_socket_factory(syscall)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_at_signal, stop)
        nursery.start_soon(_stop_at_end_of_stdin, stop)
        nursery.start_soon(keep_flushed, segments)
        await serve(application, config, stop, syscall)
        nursery.cancel_scope.cancel()


async def _stop_at_signal(
    stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await wait_for_signal(task_status=task_status)
    stop.set()


async def _stop_at_end_of_stdin(stop: trio.Event) -> None:
    while await read_stdin():
        pass
    stop.set()


class _StartupGuard:
    """The application; tells when its lifespan startup has failed, and keeps that from Hypercorn.

    Attributes:
        failed: set at the failure.
        reason: what the application said.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self.failed = trio.Event()
        self.reason = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return

        said: list[str] = []

        async def guarded_send(message: Message) -> None:
            said.append(message["type"])
            if message["type"] == "lifespan.startup.failed":
                self.reason = message.get("message", "")
                self.failed.set()
                await trio.sleep_forever()
            await send(message)

        await self._application(scope, receive, guarded_send)
        if not said:
            # It knows nothing of lifespan. Hypercorn 0.18 takes an exception for that, as the
            # specification has it, and breaks over a mere return.
            raise NotImplementedError("the application returned from its lifespan")


async def serve(
    application: Application,
    config: ServerConfig,
    told_to_stop: trio.Event,
    syscall: SyscallProbe | None = None,
) -> None:
    """Serves until it is told to stop; before the application has started, that ends it at once.

    Args:
        application: is served.
        config: where and how.
        told_to_stop: set from outside.
        syscall: observes the listening sockets and what they accept; None: nothing does.

    Raises:
        ProcessError: an address cannot be listened on, or the application's lifespan failed.
    """
    sockets = listening_sockets(config)
    ports = {bound.getsockname()[1] for bound in sockets}
    descriptors = [bound.detach() for bound in sockets]
    made = hypercorn_config(config, descriptors)
    guard = _StartupGuard(application)
    stage: Literal["startup", "service", "shutdown"] = "startup"
    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            nonlocal stage
            stage = "service"
            tell_ready(config)
            await told_to_stop.wait()
            stage = "shutdown"
            nursery.start_soon(_end_connections, made.graceful_timeout + _AFTER_GRACE_S, ports)

        async def end_at_failure() -> None:
            await guard.failed.wait()
            nursery.cancel_scope.cancel()

        async def end_before_service() -> None:
            await told_to_stop.wait()
            if stage == "startup":
                nursery.cancel_scope.cancel()

        nursery.start_soon(end_at_failure)
        nursery.start_soon(end_before_service)
        try:
            with observed_listeners(syscall, descriptors):
                await hypercorn.trio.serve(
                    guard,  # type: ignore[arg-type]  # Hypercorn types messages by kind
                    made,
                    shutdown_trigger=stop,
                    mode="asgi",
                )
        except* LifespanTimeoutError as group:
            raise lifespan_error(config, f"did not complete its {stage} in time") from group
        except* LifespanFailureError as group:
            reason = " ".join(str(error) for error in leaves(group))
            raise lifespan_error(config, f"failed its {stage}: {reason}") from group
        nursery.cancel_scope.cancel()
    if guard.failed.is_set():
        raise lifespan_error(config, f"failed its startup: {guard.reason}")


async def _end_connections(grace_s: float, ports: Set[int]) -> None:
    """Shuts down every connection that was accepted on one of the ports, once the grace is over."""
    await trio.sleep(grace_s)
    shut_down_all(ports)
