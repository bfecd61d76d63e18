"""What the server processes on asyncio have in common: lifeline, signals, segments, grace.

The same rules as for those on trio (`testbed.child`): standard input is the lifeline, SIGTERM and
SIGINT mean the same, segments are flushed every second. Once the grace after a stop is over the
connections that are left are shut down, so that nobody goes on waiting for a client that does not
read.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import stat
from collections.abc import Awaitable, Callable, Sequence, Set
from typing import Any, Final

from testbed.child import Flushable
from testbed.errors import RequestError
from testbed.server.listening import shut_down_all
from testbed.server.probes import ServerProbes

_FLUSH_INTERVAL_S: Final = 1.0
_STDIN: Final = 0
_CHUNK_BYTES: Final = 4096
_AFTER_GRACE_S: Final = 0.1


def run_on_asyncio(serve: Callable[[asyncio.Event], Awaitable[None]], probes: ServerProbes) -> None:
    """Runs `serve`, which is given the event that tells it to stop, on asyncio's own event loop.

    Raises:
        RequestError: standard input is no pipe.
        ProcessError: the loop cannot be observed, or what `serve` raises.
    """

    def observed_loop() -> asyncio.AbstractEventLoop:
        # Not a faster one where such a package happens to be installed: what runs is said.
        loop = asyncio.SelectorEventLoop()
        if probes.asyncio_loop is not None:
            probes.asyncio_loop.observe(loop)
        return loop

    check_lifeline()
    with asyncio.Runner(loop_factory=observed_loop) as runner:
        runner.run(_run(serve, probes.segments))


def check_lifeline() -> None:
    """Checks that standard input is something that ends with the parent.

    Raises:
        RequestError: it is a file or a device.
    """
    mode = os.fstat(_STDIN).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        raise RequestError("standard input must be a pipe", where="stdin")


async def _run(
    serve: Callable[[asyncio.Event], Awaitable[None]], segments: Sequence[Flushable]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_note)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def read() -> None:
        if not os.read(_STDIN, _CHUNK_BYTES):
            loop.remove_reader(_STDIN)
            stop.set()

    loop.add_reader(_STDIN, read)
    tasks = {asyncio.ensure_future(serve(stop)), asyncio.ensure_future(_keep_flushed(segments))}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_flushed(segments: Sequence[Flushable]) -> None:
    while True:
        await asyncio.sleep(_FLUSH_INTERVAL_S)
        for segment in segments:
            segment.flush()


async def end_connections(grace_s: float, ports: Set[int]) -> None:
    """Shuts down every connection that was accepted on one of the ports, once the grace is over."""
    await asyncio.sleep(grace_s + _AFTER_GRACE_S)
    shut_down_all(ports)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leaves failed handshakes out of the log: clients that were refused are no fault here."""
    if not isinstance(context.get("exception"), ssl.SSLError):
        loop.default_exception_handler(context)
