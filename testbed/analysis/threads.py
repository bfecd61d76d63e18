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
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

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


def give_back_memory() -> None:
    """Gives what was freed back to the system: glibc holds up to 120 bytes a packet of it.

    Many small buffers in several threads leave holes that nothing later fits into (malloc_trim(3)).
    Another C library does without.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
