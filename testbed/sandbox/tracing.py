"""A run's instance in tracefs, from the outside: watched over by `testbed.sandbox.trace_watch`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_NEEDS_ROOT: Final = "tracepoints need real root"


@dataclass(frozen=True, slots=True)
class TraceAccess:
    """An instance, or why there is none."""

    instance: str = ""
    """Its name; empty: there is none."""
    reason: str = ""


@contextlib.contextmanager
def instance_kept() -> Iterator[TraceAccess]:
    """An instance of tracefs for a ``with`` block; it is gone after it, however that ends."""
    if os.geteuid() != 0:
        yield TraceAccess(reason=_NEEDS_ROOT)
        return
    watcher = subprocess.Popen(
        [sys.executable, "-m", "testbed.sandbox.trace_watch", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield _answer(watcher)
    finally:
        for pipe in (watcher.stdin, watcher.stdout):
            if pipe is not None:
                pipe.close()
        watcher.wait()


def _answer(watcher: subprocess.Popen[bytes]) -> TraceAccess:
    line = watcher.stdout.readline().decode(errors="replace").strip() if watcher.stdout else ""
    word, _, rest = line.partition(" ")
    if word == "instance":
        return TraceAccess(instance=rest)
    return TraceAccess(reason=rest or "the watcher over the tracefs instance ended early")
