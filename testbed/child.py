"""What all trio processes of a run have in common: configuration, lifeline, signals, end.

Rules:

- The configuration is one argument, as JSON. Segments are descriptors that the parent opened and
  handed down.
- Standard input is the lifeline: a pipe whose other end only the parent holds. When it ends, the
  parent is gone or wants an end, and the process stops. SIGTERM and SIGINT mean the same. A process
  that is told to stop ends cleanly, with 0.
- Segments are flushed every second, so that a process that is killed loses no more than that.
- The exit code is that of the error (`testbed.errors`); the message goes to standard error, which
  the parent keeps in logs/.

Why not prctl(PR_SET_PDEATHSIG): it is cleared by a change of user and follows the parent's thread,
not its process.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec
import trio

from testbed.errors import EXIT_RUN_FAILED, RequestError, TestbedError

_FLUSH_INTERVAL_S: Final = 1.0
_STDIN: Final = 0
_CHUNK_BYTES: Final = 4096

_Config = TypeVar("_Config")


class Flushable(Protocol):
    """A segment, or what writes to one."""

    def flush(self) -> None:
        """Writes out what is buffered."""


def read_config(argv: Sequence[str], kind: type[_Config]) -> _Config:
    """The configuration out of a process's arguments.

    Raises:
        RequestError: there is not exactly one argument, or it is no JSON of this kind.
    """
    if len(argv) != 2:
        raise RequestError(
            f"expected one argument, {kind.__name__} as JSON (got {len(argv) - 1} arguments)",
            wanted=f"{kind.__name__} as JSON",
            got=argv[1:],
        )
    try:
        return msgspec.json.decode(argv[1], type=kind)
    except msgspec.MsgspecError as error:
        raise RequestError(f"expected {kind.__name__} as JSON ({error})", got=argv[1]) from error


async def read_stdin() -> bytes:
    """The next bytes of standard input; nothing when it has ended.

    Raises:
        RequestError: it is nothing that can be waited for, such as a file or /dev/null.
    """
    try:
        await trio.lowlevel.wait_readable(_STDIN)
    except PermissionError as error:  # epoll_ctl(2): EPERM
        raise RequestError("standard input must be a pipe", where="stdin") from error
    return os.read(_STDIN, _CHUNK_BYTES)


async def wait_for_signal(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Returns at the first SIGTERM or SIGINT; has started when it would not miss one."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            return


async def keep_flushed(segments: Sequence[Flushable]) -> None:
    """Flushes the segments every second, for ever.

    Raises:
        OSError: one cannot be written.
    """
    while True:
        await trio.sleep(_FLUSH_INTERVAL_S)
        for segment in segments:
            segment.flush()


def leaves(error: BaseException) -> list[BaseException]:
    """The errors inside exception groups, in order; the error itself where it is no group."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in leaves(member)]
    return [error]


def exit_code_of(main: Callable[[], None]) -> int:
    """Runs a process's main function and returns the exit code; errors go to standard error.

    A crash of the interpreter itself (SIGSEGV) leaves a traceback there too, and printed lines are
    not held back.
    """
    faulthandler.enable()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a TextIOWrapper here
    try:
        main()
    except KeyboardInterrupt:
        return 0  # SIGINT before the loop took over
    except Exception as error:  # noqa: BLE001 - the outermost one of a process
        found = leaves(error)
        known = [leaf for leaf in found if isinstance(leaf, TestbedError)]
        if len(known) == len(found):
            print(*known, sep="\n", file=sys.stderr)
            return known[0].exit_code
        traceback.print_exception(error)
        return EXIT_RUN_FAILED
    return 0
