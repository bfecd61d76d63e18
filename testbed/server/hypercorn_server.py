"""Hypercorn 0.18 on trio, with no decisions of its own behind the experiment's back.

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

Why each setting:

- `backlog`: Hypercorn's own 100 is silent; here it is in the configuration and so in the recording.
- `keep_alive_max_requests`: after 1000 requests Hypercorn closes the connection without a word,
  which looks like a reconnect of the client's making; `keep_alive_timeout`: its 5 s does the same
  between slow requests.
- `include_server_header` and `include_date_header` stay as they are: they are what a user's
  deployment sends.
- `alpn_protocols`: the one version that was asked for, so that client and server cannot settle for
  another. Without TLS Hypercorn speaks HTTP/2 to a client that begins with it (RFC 9113, 3.3) or
  asks for h2c, and cannot be told not to; the load process begins with what was asked for.
- `certfile` and `keyfile`: the descriptor that came from the parent, which has no name in any file
  system. Hypercorn reads it once, before it listens, and it is closed with the server.
- `accesslog` stays off: the ASGI probe sees more and costs less.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import hypercorn.trio
import trio
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError

from testbed.child import leaves
from testbed.errors import ProcessError
from testbed.probes.asgi import Application, Message, Receive, Scope, Send
from testbed.probes.syscall import SyscallProbe
from testbed.scenario.model import HttpVersion
from testbed.server.config import ServerConfig
from testbed.server.observed_listeners import observed_listeners
from testbed.units import NS_PER_S

ALPN: Final[dict[HttpVersion, str]] = {"1.1": "http/1.1", "2": "h2"}
"""Protocol names (RFC 7301, section 6; RFC 9113, section 3.1)."""
_NEVER_REQUESTS: Final = 2**62
_AFTER_GRACE_S: Final = 0.1


def hypercorn_config(config: ServerConfig, descriptors: list[int]) -> Config:
    """Hypercorn's configuration for this server on bound sockets; see *Why each setting*."""
    made = Config()
    made.bind = [f"fd://{descriptor}" for descriptor in descriptors]
    made.backlog = config.backlog
    made.keep_alive_max_requests = _NEVER_REQUESTS
    made.keep_alive_timeout = config.keep_alive_timeout_ns / NS_PER_S
    made.alpn_protocols = [ALPN[config.http]]
    if config.tls_fd is not None:
        made.certfile = made.keyfile = f"/proc/self/fd/{config.tls_fd}"
    made.startup_timeout = config.startup_timeout_ns / NS_PER_S
    made.graceful_timeout = config.graceful_timeout_ns / NS_PER_S
    made.shutdown_timeout = config.graceful_timeout_ns / NS_PER_S
    return made


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket bound to the address; Hypercorn listens once the application has started.

    Raises:
        ProcessError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ProcessError(
            f"cannot listen on {host} port {port}: {error.strerror}", where="server"
        ) from error
    return bound


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
    sockets = [bind(host, config.port) for host in config.hosts]
    ports = {bound.getsockname()[1] for bound in sockets}
    descriptors = [bound.detach() for bound in sockets]
    made = hypercorn_config(config, descriptors)
    guard = _StartupGuard(application)
    stage: Literal["startup", "service", "shutdown"] = "startup"
    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            nonlocal stage
            stage = "service"
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
            raise _lifespan_error(config, f"did not complete its {stage} in time") from group
        except* LifespanFailureError as group:
            reason = " ".join(str(error) for error in leaves(group))
            raise _lifespan_error(config, f"failed its {stage}: {reason}") from group
        nursery.cancel_scope.cancel()
    if guard.failed.is_set():
        raise _lifespan_error(config, f"failed its startup: {guard.reason}")


def _lifespan_error(config: ServerConfig, what: str) -> ProcessError:
    return ProcessError(f'the application "{config.app}" {what} (ASGI lifespan)', where="server")


async def _end_connections(grace_s: float, ports: Set[int]) -> None:
    """Shuts down every connection that was accepted on one of the ports, once the grace is over."""
    await trio.sleep(grace_s)
    _shut_down_all(ports)


def _shut_down_all(ports: Set[int]) -> None:
    for entry in Path("/proc/self/fd").iterdir():
        _shut_down(int(entry.name), ports)


def _shut_down(descriptor: int, ports: Set[int]) -> None:
    try:
        duplicate = os.dup(descriptor)
    except OSError:
        return  # the descriptor of the listing itself, closed since
    try:
        connection = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)  # no socket
        return
    with connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return
        if connection.getsockname()[1] in ports:
            with suppress(OSError):  # ENOTCONN: a listener, or ended by itself meanwhile
                connection.shutdown(socket.SHUT_RDWR)
