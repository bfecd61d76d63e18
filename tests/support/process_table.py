"""Who is alive: processes by mark, by parent and by PID namespace, and waiting for their end.

Other work goes on on the same machine, so nothing here counts processes as such: a test marks its
own with a variable in their environment, or asks for the members of a namespace.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MARK: Final = "TESTBED_TEST_MARK"
"""Environment variable by which a test knows its own processes, however deep they are."""
END_S: Final = 20.0
"""How long the kernel may take to end a sandbox's processes: it is milliseconds, but the two CPUs
are shared with others."""


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def _state_and_parent(process: Path) -> tuple[str, int]:
    """proc(5), /proc/PID/stat; the name before them may hold anything."""
    fields = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return fields[0], int(fields[1])


def marked(mark: str) -> list[int]:
    """Living processes, other than this one, that were started with `mark` in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for path in _processes():
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another user's and so not ours
            continue
        if wanted in environment and int(path.name) != os.getpid():
            found.append(int(path.name))
    return sorted(found)


def marked_by_command(mark: str, words: str) -> list[int]:
    """Those of `marked` that have `words` in their command line; a blank at its end ends a word."""
    return [process for process in marked(mark) if words in f"{command_line(process)} "]


def the_one(mark: str, words: str) -> int:
    """The one process of a run with `words` in its command line.

    The processes that the testbed starts run their own way to the same words (nsenter, setpriv) and
    become each other by exec: there is one of each, beside those of the sandbox itself.
    """
    sandbox = marked_by_command(mark, "sandbox")
    (process,) = (p for p in marked_by_command(mark, words) if p not in sandbox)
    return process


def command_line(process: int) -> str:
    """The arguments of a process with blanks between them; nothing when it has ended."""
    try:
        data = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return ""
    return data.replace(b"\0", b" ").decode(errors="replace").strip()


def children(process: int) -> list[int]:
    """The children of a process, oldest first."""
    found = []
    for path in _processes():
        try:
            if _state_and_parent(path)[1] == process:
                found.append(int(path.name))
        except OSError:
            continue
    return sorted(found)


def pid_namespace(process: int) -> str:
    """What names the PID namespace that a process is in: ``pid:[4026532281]``."""
    return str(Path(f"/proc/{process}/ns/pid").readlink())


def members(namespace: str) -> list[int]:
    """The living processes in a PID namespace; a zombie, which only waits to be seen, is none."""
    found = []
    for path in _processes():
        try:
            if str((path / "ns/pid").readlink()) == namespace and _state_and_parent(path)[0] != "Z":
                found.append(int(path.name))
        except OSError:
            continue
    return sorted(found)


@contextmanager
def watched(processes: Iterable[int]) -> Iterator[dict[int, int]]:
    """Holds a pidfd of each process, so that ids that are used again deceive nobody."""
    descriptors = {process: os.pidfd_open(process) for process in processes}
    try:
        yield descriptors
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def wait_for_end(watched: dict[int, int], within_s: float = END_S) -> None:
    """Returns when all processes of `watched` have ended.

    Raises:
        AssertionError: some had not in time; names them.
    """
    poll = select.poll()
    alive = {descriptor: process for process, descriptor in watched.items()}
    for descriptor in alive:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + within_s
    while alive:
        ended = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        for descriptor, _ in ended:
            poll.unregister(descriptor)
            del alive[descriptor]
        if not ended:
            names = {process: command_line(process) for process in alive.values()}
            raise AssertionError(f"still alive after {within_s:g} s: {names}")
