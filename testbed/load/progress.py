"""What a load process tells its parent while it runs: lines of JSON on a pipe.

Rules:

    {"ready":true}                    once: imports are done; it waits for "go"
    {"started":n,"completed":n,"failed":n,"limit":n|null,"elapsed_ns":n,"ended":null}
                                      every 100 ms
    ... "ended":"done"|"stopped"}     once, last

- started = completed + failed + under way. A request that ended with a status of 400 or more has
  failed.
- The load never waits for its parent to read: a line that the pipe has no room for is left out.
  Only the last line is waited for, one second at most.
- A parent that closed the pipe is told no more; what to do about its end is decided by the
  lifeline.
"""

from __future__ import annotations

import os
from time import monotonic_ns
from typing import Final, Literal

import msgspec
import trio

_INTERVAL_S: Final = 0.1
_LAST_LINE_S: Final = 1.0


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    ready: Literal[True] = True


class ProgressLine(msgspec.Struct, frozen=True, kw_only=True):
    """Every other line."""

    started: int
    completed: int
    failed: int
    limit: int | None
    """Requests in all; None where only the duration ends the load."""
    elapsed_ns: int
    """Since "go"."""
    ended: Literal["done", "stopped"] | None = None


class Progress:
    """Counts requests and reports them.

    Attributes:
        started: requests that were begun.
        completed: requests that ended well.
        failed: requests that ended otherwise.
    """

    def __init__(self, descriptor: int, limit: int | None) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._limit = limit
        self._start_ns = monotonic_ns()
        self._rest = b""
        self.started = 0
        self.completed = 0
        self.failed = 0

    def ready(self) -> None:
        """Says that the process is ready."""
        self._offer(Ready())

    def begin(self, start_ns: int) -> None:
        """Sets the time from which `elapsed_ns` counts."""
        self._start_ns = start_ns

    async def keep_reporting(self) -> None:
        """Reports every 100 ms, for ever."""
        while True:
            await trio.sleep(_INTERVAL_S)
            self._offer(self._line(None))

    async def end(self, how: Literal["done", "stopped"]) -> None:
        """Reports for the last time."""
        self._rest += _encode(self._line(how))
        self._push()
        with trio.move_on_after(_LAST_LINE_S):
            while self._rest:
                await trio.lowlevel.wait_writable(self._descriptor)
                self._push()

    def _line(self, ended: Literal["done", "stopped"] | None) -> ProgressLine:
        return ProgressLine(
            started=self.started,
            completed=self.completed,
            failed=self.failed,
            limit=self._limit,
            elapsed_ns=monotonic_ns() - self._start_ns,
            ended=ended,
        )

    def _offer(self, line: Ready | ProgressLine) -> None:
        self._push()
        if not self._rest:
            self._rest = _encode(line)
            self._push()

    def _push(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._descriptor, self._rest) :]
        except BlockingIOError:
            return  # the pipe is full: what is left goes first next time
        except BrokenPipeError:
            self._rest = b""


def _encode(line: Ready | ProgressLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"
