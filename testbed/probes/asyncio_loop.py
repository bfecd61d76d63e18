"""Event loop probe for asyncio: every callback that the loop runs and every wait for I/O.

Rules:

- The same records as trio's probe (`testbed.probes.event_loop`). A step is a callback: one step of
  a task, or what a transport, a timer or a signal has the loop call.
- A callback is scheduled when it comes into the loop's queue of what is ready, and started when the
  loop takes it from there. It has ended when the loop takes the next one or asks for I/O: the
  loop's own few instructions in between count as part of it.
- Callbacks of one task have one number, from 1 in the order in which tasks were first seen; those
  of no task have 0.
- Nothing is written to the segment within a callback: records gather until `flush`.

Why the queue: asyncio has no instruments as trio has. Its loop keeps what is ready in a deque,
``_ready``, and asks a selector for I/O, ``_selector``; both can be replaced by ones that look at a
clock, and nothing else of the loop is touched. They are the loop's private attributes, the same in
CPython 3.8 to 3.14 (Lib/asyncio/base_events.py, ``_run_once``); a loop without them is refused.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from time import monotonic_ns
from typing import Any, Final
from weakref import WeakKeyDictionary

from testbed.errors import ProcessError
from testbed.events.event_loop import LOOP_KINDS, LOOP_RECORD
from testbed.recording.segments import SegmentHeader, SegmentWriter

_RECORD: Final = struct.Struct("<qqqIHBx")
_STEP: Final = LOOP_KINDS.index("step")
_IO_WAIT: Final = LOOP_KINDS.index("io_wait")
_MOST_RUNNABLE: Final = 0xFFFF
"""Greatest number of callbacks that the record can say; more are written as this."""


class AsyncioLoopProbe:
    """Records the steps and I/O waits of a loop that was given to `observe`."""

    def __init__(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self._numbers: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self._last_number = 0
        self._open = False
        self._scheduled_ns = self._started_ns = 0
        self._task = self._runnable = 0

    def observe(self, loop: Any) -> None:
        """Looks at `loop` from now on; call it before the loop runs.

        Raises:
            ProcessError: it is built in another way than asyncio's own.
        """
        if not isinstance(getattr(loop, "_ready", None), deque) or not hasattr(loop, "_selector"):
            raise ProcessError(
                f"the event loop {type(loop).__name__} cannot be observed: it has no queue of "
                "callbacks as asyncio's own has (leave event_loop out of --probes)",
                where="event_loop",
            )
        ready = loop._ready = _Ready(self, loop._ready)
        loop._selector = _Selector(self, loop._selector, ready)

    def taken(self, handle: Any, scheduled_ns: int, runnable: int) -> None:
        """The loop takes a callback, with `runnable` of them ready, this one included."""
        now_ns = monotonic_ns()
        self._end_step(now_ns)
        if handle.cancelled():
            return
        self._open = True
        self._scheduled_ns, self._started_ns = scheduled_ns, now_ns
        self._task = self._number(getattr(handle._callback, "__self__", None))
        self._runnable = min(runnable, _MOST_RUNNABLE)

    def waits(self, runnable: int) -> int:
        """The loop asks for I/O while `runnable` callbacks are ready; returns when."""
        now_ns = monotonic_ns()
        self._end_step(now_ns)
        self._runnable = min(runnable, _MOST_RUNNABLE)
        return now_ns

    def waited(self, started_ns: int) -> None:
        """The loop has its answer."""
        self._record(started_ns, started_ns, monotonic_ns(), 0, _IO_WAIT)

    def _end_step(self, now_ns: int) -> None:
        if self._open:
            self._open = False
            self._record(self._scheduled_ns, self._started_ns, now_ns, self._task, _STEP)

    def _number(self, owner: object) -> int:
        if not isinstance(owner, asyncio.Task):
            return 0
        number = self._numbers.get(owner)
        if number is None:
            number = self._last_number = self._last_number + 1
            self._numbers[owner] = number
        return number

    def _record(
        self, scheduled_ns: int, started_ns: int, ended_ns: int, task: int, kind: int
    ) -> None:
        self._writer.buffer += _RECORD.pack(
            scheduled_ns, started_ns, ended_ns, task, self._runnable, kind
        )

    def flush(self) -> None:
        """Writes out what is buffered.

        Raises:
            OSError: the segment cannot be written.
        """
        self._writer.flush()

    def close(self) -> None:
        """Writes out what is buffered and closes the segment; call it after the loop has ended.

        Raises:
            OSError: the segment cannot be written.
        """
        self._writer.close()


class _Ready(deque[Any]):
    """The loop's queue of ready callbacks, with the time at which each came into it.

    Other threads append, too (``call_soon_threadsafe``): a callback has its time before it is seen.
    """

    def __init__(self, probe: AsyncioLoopProbe, before: deque[Any]) -> None:
        super().__init__()
        self._probe = probe
        self._times_ns: deque[int] = deque()
        for handle in before:
            self.append(handle)

    def append(self, handle: Any) -> None:
        self._times_ns.append(monotonic_ns())
        super().append(handle)

    def popleft(self) -> Any:
        runnable = len(self)
        handle = super().popleft()
        self._probe.taken(handle, self._times_ns.popleft(), runnable)
        return handle

    def clear(self) -> None:
        super().clear()
        self._times_ns.clear()


class _Selector:
    """The loop's selector, with a time before and after each question."""

    def __init__(self, probe: AsyncioLoopProbe, selector: Any, ready: _Ready) -> None:
        self._probe = probe
        self._selector = selector
        self._ready = ready

    def select(self, timeout: float | None = None) -> Any:
        started_ns = self._probe.waits(len(self._ready))
        try:
            return self._selector.select(timeout)
        finally:
            self._probe.waited(started_ns)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


def open_asyncio_loop_probe(descriptor: int, *, process: str, node: str) -> AsyncioLoopProbe:
    """A probe that writes to `descriptor`, in the name of `process` on `node`."""
    header = SegmentHeader(
        layout="records", source="event_loop", process=process, fields=LOOP_RECORD, nodes=[node]
    )
    return AsyncioLoopProbe(SegmentWriter(descriptor, header))
