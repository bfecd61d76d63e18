"""The probes inside a server process, opened before the application is imported.

So a segment has its header whatever happens at the import. Which probes there are is the parent's
choice, which knows what the model has for them to see (`testbed.scenario.servers`).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from testbed.child import Flushable
from testbed.probes.asgi import Application, AsgiProbe, open_asgi_segment
from testbed.probes.asyncio_loop import AsyncioLoopProbe, open_asyncio_loop_probe
from testbed.probes.event_loop import EventLoopProbe, open_event_loop_probe
from testbed.probes.plain_socket import PlainSocket
from testbed.probes.syscall import SyscallProbe, open_syscall_probe
from testbed.recording.segments import SegmentWriter
from testbed.scenario.servers import MODELS
from testbed.server.config import ServerConfig


@dataclass(slots=True)
class ServerProbes:
    """Those of this process; None: off."""

    asgi: SegmentWriter | None = None
    trio_loop: EventLoopProbe | None = None
    asyncio_loop: AsyncioLoopProbe | None = None
    syscall: SyscallProbe | None = None
    segments: list[Flushable] = field(default_factory=list)
    """All of them, for who keeps them flushed."""

    def observed(self, sockets: list[socket.socket]) -> list[socket.socket]:
        """The plain listening sockets, observed where there is a probe for that."""
        if self.syscall is None:
            return sockets
        return [PlainSocket(one, self.syscall) for one in sockets]

    def around(self, application: Application) -> Application:
        """The application with the ASGI probe around it, where there is one."""
        return application if self.asgi is None else AsgiProbe(application, self.asgi)


@contextmanager
def server_probes(config: ServerConfig) -> Iterator[ServerProbes]:
    """Opens the probes of `config`, and closes them at the end."""
    model = MODELS[config.server]
    opened = ServerProbes()
    whose = {"process": config.name, "node": config.node}
    try:
        if config.asgi_fd is not None:
            # Without an event loop there are several threads or processes, and no task that
            # flushes: every frame is written at once.
            shared = model.loop is None
            opened.asgi = open_asgi_segment(config.asgi_fd, shared=shared, **whose)
            opened.segments.append(opened.asgi)
        if config.event_loop_fd is not None and model.loop == "trio":
            opened.trio_loop = open_event_loop_probe(config.event_loop_fd, **whose)
            opened.segments.append(opened.trio_loop)
        if config.event_loop_fd is not None and model.loop == "asyncio":
            opened.asyncio_loop = open_asyncio_loop_probe(config.event_loop_fd, **whose)
            opened.segments.append(opened.asyncio_loop)
        if config.syscall_fd is not None and model.loop is not None:
            opened.syscall = open_syscall_probe(config.syscall_fd, **whose)
            opened.segments.append(opened.syscall)
        yield opened
    finally:
        for one in (opened.syscall, opened.asyncio_loop, opened.trio_loop, opened.asgi):
            if one is not None:
                one.close()
