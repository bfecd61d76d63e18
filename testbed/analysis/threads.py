"""Work on columns in threads: numpy, Polars and zlib let other threads run meanwhile.

Rules:

- What runs in a thread writes to nothing that another one reads or writes. Results come in the
  order of what was given, so that a second analysis gives the same bytes.
- An error in a thread is the caller's.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

_M_ARENA_MAX: Final = -8
"""glibc's malloc.h."""
MAX_THREADS: Final = 4
"""More of them wait for the interpreter and for memory, and each needs room for its own columns."""


def in_threads(work: Callable[[_Given], _Made], things: Iterable[_Given]) -> list[_Made]:
    """What `work` makes of each, in their order."""
    things = list(things)
    threads = min(len(os.sched_getaffinity(0)), MAX_THREADS, len(things))
    if threads < 2:
        return [work(thing) for thing in things]
    with ThreadPoolExecutor(threads, "columns") as pool:
        return list(pool.map(work, things))


def both(first: Callable[[], _Given], second: Callable[[], _Made]) -> tuple[_Given, _Made]:
    """What two pieces of work make, `second` in a thread of its own meanwhile."""
    with ThreadPoolExecutor(1, "beside") as pool:
        beside = pool.submit(second)
        made = first()
        return made, beside.result()


class Aside:
    """One thread that does one piece of work after the other while the caller goes on.

    To be used with `with`; what was not begun when a piece failed, or when an error leaves the
    block, is not done.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "aside")
        self._given: list[Future[None]] = []

    def do(self, work: Callable[[], None]) -> None:
        """Does this after what was given before, if that did not fail."""
        before = self._given[-1] if self._given else None
        self._given.append(self._pool.submit(_after, before, work))

    def finish(self) -> None:
        """Waits until all is done; raises the first error of any of it."""
        for future in self._given:
            future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=error is not None)


def _after(before: Future[None] | None, work: Callable[[], None]) -> None:
    if before is not None:
        before.result()
    work()


def share_memory() -> None:
    """Lets all threads that begin from now on allocate from one arena (mallopt(3), M_ARENA_MAX).

    With an arena for each thread glibc keeps what one has freed from the others: 5 % more memory at
    the most, and a tenth more time in the kernel, which clears pages. Another C library does
    without.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Gives what was freed back to the system: glibc holds up to 120 bytes a packet of it.

    Many small buffers in several threads leave holes that nothing later fits into (malloc_trim(3)).
    Another C library does without.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
