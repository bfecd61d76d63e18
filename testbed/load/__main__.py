"""The load process: ``python -m testbed.load CONFIG_JSON``; lifeline and end: `testbed.child`.

Rules:

- It imports everything, writes {"ready":true} to the progress pipe (see `testbed.load.progress`)
  and waits for the line ``go`` on standard input, so that all clients of a run start together.
- The end of standard input, SIGTERM and SIGINT stop it: requests under way are cancelled and
  recorded as "Cancelled".
- It ends by itself when every request has ended.

Exit codes: 0 the load is done or was stopped; 2 the configuration is wrong; 4 a fault, or a segment
that cannot be written.
"""

from __future__ import annotations

import gc
import sys
from contextlib import ExitStack
from time import monotonic_ns

import trio

from testbed.child import (
    Flushable,
    exit_code_of,
    keep_flushed,
    read_config,
    read_stdin,
    wait_for_signal,
)
from testbed.errors import RequestError
from testbed.load.closed_loop import closed_loop
from testbed.load.config import LoadConfig
from testbed.load.draws import Draws
from testbed.load.open_loop import open_loop
from testbed.load.pacing import paced
from testbed.load.progress import Progress
from testbed.load.request import Requests
from testbed.load.trust import trusting
from testbed.probes.event_loop import open_event_loop_probe
from testbed.probes.http import ConnectionBackend, HttpSegment, probed_transport
from testbed.probes.http_library import library
from testbed.probes.syscall import SyscallProbe, open_syscall_probe
from testbed.scenario.checked import recorded


async def _obey_stdin(go: trio.Event, stop: trio.CancelScope) -> None:
    received = b""
    while chunk := await read_stdin():
        received += chunk
        if received == b"go\n":
            go.set()
        elif not b"go\n".startswith(received):
            raise RequestError(f'expected the line "go" (got {received!r})', where="stdin")
    stop.cancel()


async def _stop_at_signal(
    stop: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await wait_for_signal(task_status=task_status)
    stop.cancel()


async def _make_load(config: LoadConfig, segment: HttpSegment, progress: Progress) -> None:
    load, share = config.load, config.share
    made_by = library(load.client)
    backend = ConnectionBackend(made_by, http2=config.http == "2")
    transport = probed_transport(
        made_by,
        max_connections=max(1, share.of(load.connection_limit)),
        backend=paced(backend, load.read_rate_bit_s, load.write_rate_bit_s),
        keep_connections=not load.new_connections,
        http=config.http,
        ssl_context=None if config.ca_pem is None else trusting(config.ca_pem),
    )
    draws = Draws(load, seed=config.seed, host=config.node)
    async with transport:
        requests = Requests(config, made_by, transport, segment, progress, draws)
        start_ns = monotonic_ns()
        progress.begin(start_ns)
        if load.is_open:
            await open_loop(config, requests, start_ns)
        else:
            await closed_loop(load, share, requests, draws, start_ns)


async def _run(
    config: LoadConfig,
    segment: HttpSegment,
    segments: list[Flushable],
    syscall: SyscallProbe | None,
) -> None:
    if syscall is not None:
        trio.socket.set_custom_socket_factory(syscall)
    limit = config.load.request_limit
    progress = Progress(config.progress_fd, None if limit is None else config.share.of(limit))
    go, stop = trio.Event(), trio.CancelScope()
    async with trio.open_nursery() as background:
        await background.start(_stop_at_signal, stop)
        background.start_soon(_obey_stdin, go, stop)
        background.start_soon(keep_flushed, segments)
        with stop:
            # What the imports have made stays: to look through all of it takes 12 ms, in which no
            # request starts (gc.freeze).
            gc.collect()
            gc.freeze()
            progress.ready()
            await go.wait()
            background.start_soon(progress.keep_reporting)
            await _make_load(config, segment, progress)
        await progress.end("stopped" if stop.cancelled_caught else "done")
        background.cancel_scope.cancel()


def main() -> None:
    """Makes the load; returns when it has ended or was stopped."""
    with recorded():  # who started it has checked the load, and may read files that it may not
        config = read_config(sys.argv, LoadConfig)
    segments: list[Flushable] = []
    instruments = []
    with ExitStack() as closing:
        segment = HttpSegment(config.http_fd, process=config.name, node=config.node)
        closing.callback(segment.writer.close)
        segments.append(segment.writer)
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
        trio.run(_run, config, segment, segments, syscall, instruments=instruments)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
