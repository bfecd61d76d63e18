"""The server process: ``python -m testbed.server CONFIG_JSON``; lifeline, end: `testbed.child`.

Exit codes: 0 it was told to stop; 2 the application's name is wrong; 4 the application failed to
import or to start, or an address cannot be listened on.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import trio

from testbed.child import (
    Flushable,
    exit_code_of,
    keep_flushed,
    read_config,
    read_stdin,
    wait_for_signal,
)
from testbed.probes.asgi import Application, AsgiProbe, open_asgi_segment
from testbed.probes.event_loop import open_event_loop_probe
from testbed.probes.syscall import SyscallProbe, open_syscall_probe
from testbed.server.application import load_application
from testbed.server.config import ServerConfig
from testbed.server.hypercorn_server import serve


async def _stop_at_signal(
    stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await wait_for_signal(task_status=task_status)
    stop.set()


async def _stop_at_end_of_stdin(stop: trio.Event) -> None:
    while await read_stdin():
        pass
    stop.set()


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


def main() -> None:
    """Runs the server until it is told to stop."""
    config = read_config(sys.argv, ServerConfig)
    segments: list[Flushable] = []
    instruments = []
    with ExitStack() as closing:
        # Opened before the import, so that a segment has its header whatever happens there.
        asgi = None
        if config.asgi_fd is not None:
            asgi = open_asgi_segment(config.asgi_fd, process=config.name, node=config.node)
            closing.callback(asgi.close)
            segments.append(asgi)
        if config.event_loop_fd is not None:
            probe = open_event_loop_probe(
                config.event_loop_fd, process=config.name, node=config.node
            )
            closing.callback(probe.close)
            segments.append(probe)
            instruments.append(probe)
        syscall = None
        if config.syscall_fd is not None:
            syscall = open_syscall_probe(config.syscall_fd, process=config.name, node=config.node)
            closing.callback(syscall.close)
            segments.append(syscall)
        application = load_application(config.app, Path(config.directory))
        if asgi is not None:
            application = AsgiProbe(application, asgi)
        trio.run(_run, application, config, segments, syscall, instruments=instruments)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
