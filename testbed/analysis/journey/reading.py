"""From a packet's arrival at a host to the system call that read its last byte.

Whose time it is:

- the reader was waiting for data: the kernel's, until it woke the process (or the event loop had
  come back from other tasks to look), then the event loop's, until the task ran;
- it was not, and the event loop was busy for most of the time: the event loop's;
- it was not, although the loop had nothing to do: the reader's, who left the data in the receive
  buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.journey.calls import Call, SystemCalls
from testbed.analysis.journey.loops import Loops
from testbed.analysis.journey.stage import Label
from testbed.analysis.journey.tape import Tape
from testbed.analysis.matching import NONE

WAKE_UP: Final = "wake-up"
"""The stage in which data lies in the receive buffer and its reader, who waits for it, has no CPU
yet."""

_UNTIL_IT_RUNS: Final = Label("until the task runs", "event_loop", "scheduling")
_UNTIL_IT_IS_READ: Final = Label(
    "until it is read", "syscall", "scheduling", note="event loop not observed"
)
"""All of these together, and whatever the reader made it wait for: nobody saw the event loop."""

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def read(
    tape: Tape,
    calls: SystemCalls,
    loops: Loops,
    *,
    connection: Int64,
    process: Sequence[str | None],
    node: Sequence[str],
    came_ns: Int64,
    end: Int64,
    applies: Flags,
) -> None:
    """Lays down the stages from `came_ns`, where the tape's cursor is, to the end of the call.

    Args:
        tape: gets the stages.
        calls: of all processes.
        loops: of all processes.
        connection: of each request, at this end.
        process: that reads.
        node: where it runs.
        came_ns: when the last byte was there.
        end: stream offset after that byte.
        applies: the requests that have these stages.
    """
    came_ns = np.where(applies, came_ns, NONE)
    call = calls.receives.covering(connection, np.where(end == NONE, NONE, end - 1))
    wait = calls.waits_readable.last_before(connection, call.started_ns)
    waiting = wake(tape, loops, wait, process, node, came_ns, call.started_ns)

    def labels(label: Label) -> Int64:
        return tape.codes(label, node)

    idle_ns = loops.idle_ns(process, tape.cursor_ns, call.started_ns)
    seen = loops.observed(process)
    left = ~waiting & ((idle_ns == NONE) | (idle_ns * 2 > call.started_ns - tape.cursor_ns))
    unread = labels(Label("unread in the receive buffer", "socket", "backpressure"))
    unheard = np.where(seen, labels(_UNTIL_IT_RUNS), labels(_UNTIL_IT_IS_READ))
    tape.advance(call.started_ns, np.where(left & seen, unread, unheard), applies & ~waiting)
    tape.advance(call.ended_ns, labels(Label("recv", "syscall", "work")), applies)


def wake(
    tape: Tape,
    loops: Loops,
    wait: Call,
    process: Sequence[str | None],
    node: Sequence[str],
    came_ns: Int64,
    runs_ns: Int64,
) -> Flags:
    """Lays down how tasks that waited for their sockets came to run; returns which did wait.

    Args:
        tape: gets the stages.
        loops: of all processes.
        wait: of each request's task.
        process: that it is in.
        node: where it runs.
        came_ns: when there was what it waited for.
        runs_ns: when it ran.
    """
    waiting = (wait.started_ns != NONE) & (came_ns != NONE)
    waiting &= (wait.started_ns <= came_ns) & (wait.ended_ns >= came_ns)
    poll = loops.next_poll(process, np.where(waiting, came_ns, NONE))
    # A poll beyond that is not the one that found it.
    polled = waiting & (poll.ended_ns != NONE) & (poll.ended_ns <= runs_ns)
    busy = polled & (poll.started_ns > came_ns)
    seen = loops.observed(process)
    for to_ns, mine, label in (
        (poll.started_ns, busy, Label("event loop busy", "event_loop", "scheduling")),
        (poll.ended_ns, polled, Label(WAKE_UP, "syscall", "scheduling")),
        (runs_ns, waiting & (runs_ns != NONE) & seen, _UNTIL_IT_RUNS),
        (runs_ns, waiting & (runs_ns != NONE) & ~seen, _UNTIL_IT_IS_READ),
    ):
        codes = tape.codes(label, node)
        tape.advance(np.where(mine, to_ns, NONE), codes, mine)
    return np.asarray(waiting, np.bool_)
