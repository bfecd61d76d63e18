"""Instances of our own in tracefs: their names, making, removing and reaping.

Rules:

- Nothing but instances whose name is ours is ever touched, and never the global trace.
- A name says who owns the instance: PID namespace, process id and start time, so that one whose
  owner is gone can be told from one that is in use.
- tracefs is used where it is mounted already, and else mounted in a mount namespace of the calling
  process alone.

Why: an instance belongs to the kernel and not to a namespace (kernel/trace/trace.c,
instance_mkdir); alone of all that a run makes it would outlive the sandbox.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from testbed.sandbox import syscalls as sc

_PLACES: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
"""Documentation/trace/ftrace.rst"""
_NAME: Final = re.compile(r"testbed-(?P<namespace>\d+)-(?P<process>\d+)-(?P<started>\d+)-[0-9a-f]+")
_REMOVE_S: Final = 10.0
_POLL_S: Final = 0.05


def mounted() -> Path:
    """Where tracefs is; mounted for this process alone where it was not.

    Raises:
        OSError: it may not be mounted, or this kernel has none.
    """
    for place in _PLACES:
        if (place / "instances").is_dir():
            return place
    sc.unshare(sc.CLONE_NEWNS)
    sc.mount("none", "/", None, sc.MS_REC | sc.MS_PRIVATE)
    flags = sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC
    sc.mount("tracefs", str(_PLACES[0]), "tracefs", flags)
    return _PLACES[0]


def name_for(owner: int) -> str:
    """A new name for an instance of the process `owner`.

    Raises:
        OSError: there is no such process.
    """
    return f"testbed-{_namespace()}-{owner}-{_started(owner)}-{os.urandom(4).hex()}"


def is_ours(name: str) -> bool:
    """Whether `name` is one that `name_for` makes."""
    return _NAME.fullmatch(name) is not None


def owner_is_gone(name: str) -> bool:
    """Whether the owner that a name of ours tells is no more.

    False where that cannot be known: for other names, and for owners of another PID namespace.
    """
    match = _NAME.fullmatch(name)
    if match is None or int(match["namespace"]) != _namespace():
        return False
    try:
        return _started(int(match["process"])) != int(match["started"])
    except OSError:
        return True


def create(root: Path, name: str) -> Path:
    """Makes an instance that records nothing yet.

    Raises:
        OSError: the kernel refused.
    """
    instance = root / "instances" / name
    instance.mkdir()
    (instance / "tracing_on").write_text("0", encoding="ascii")
    return instance


def remove(root: Path, name: str, within_s: float = _REMOVE_S) -> bool:
    """Removes an instance of ours; waits while somebody still reads it (EBUSY).

    Returns:
        Whether it is gone.
    """
    if not is_ours(name):
        return False
    instance = root / "instances" / name
    deadline = time.monotonic() + within_s
    while True:
        try:
            (instance / "tracing_on").write_text("0", encoding="ascii")
            instance.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def reap(root: Path) -> list[str]:
    """Removes the instances of ours whose owner is gone; returns their names."""
    return [name for name in left_over(root) if remove(root, name, within_s=0.0)]


def left_over(root: Path) -> Iterator[str]:
    """Names of instances of ours whose owner is gone."""
    for entry in sorted((root / "instances").iterdir()):
        if owner_is_gone(entry.name):
            yield entry.name


def _namespace() -> int:
    """The inode of the PID namespace in which process ids are to be understood."""
    return Path("/proc/self/ns/pid").stat().st_ino


def _started(process: int) -> int:
    """When a process started, in ticks since boot (proc(5), stat field 22)."""
    text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    return int(text.rpartition(")")[2].split()[19])
