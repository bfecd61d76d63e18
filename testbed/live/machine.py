"""Facts of this machine for the manifest and the verdict."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "mininet", "trio", "httpx", "httpcore", "httpx2", "httpcore2", "h11", "h2", "hypercorn",
    "uvicorn", "numpy", "msgspec", "polars",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of the interpreter and of the packages that a run depends on."""
    found = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def kernel() -> str:
    """The kernel's release."""
    return platform.release()


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU time of the whole machine since its start, in ticks (proc(5), /proc/stat)."""

    total: int
    idle: int
    """Idle and waiting for I/O."""
    stolen: int
    """Taken by the hypervisor for others."""


def cpu_times() -> CpuTimes:
    """Reads /proc/stat."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        user, nice, system, idle, iowait, irq, softirq, steal = map(
            int, file.readline().split()[1:9]
        )
    # user and nice include the guests' time: it must not be counted twice.
    total = user + nice + system + idle + iowait + irq + softirq + steal
    return CpuTimes(total, idle + iowait, steal)


def shares(start: CpuTimes, end: CpuTimes) -> tuple[float, float] | None:
    """Stolen and busy share of all CPU time between two readings; None where no tick has passed."""
    total = end.total - start.total
    if total <= 0:
        return None
    return (end.stolen - start.stolen) / total, 1 - (end.idle - start.idle) / total


@dataclass(frozen=True, slots=True)
class CpuUse:
    """What a process's first thread has had of the CPUs so far (proc(5), /proc/PID/schedstat)."""

    ran_ns: int
    waited_ns: int
    """It was ready to run, and no CPU was free for it."""


def cpu_use(process_id: int) -> CpuUse | None:
    """Reads it; None where it has ended, or the kernel does not say (CONFIG_SCHED_INFO)."""
    try:
        with Path(f"/proc/{process_id}/schedstat").open(encoding="ascii") as file:
            ran_ns, waited_ns, _ = map(int, file.read().split())
    except (OSError, ValueError):
        return None
    return CpuUse(ran_ns, waited_ns)


@contextmanager
def cpu_kept_free() -> Iterator[int | None]:
    """Keeps this process, and all that it starts meanwhile, off one CPU, for the relay.

    Under SCHED_FIFO the relay takes a CPU when it needs one. An ordinary user may not use that, and
    any step of the server, of a client or of a progress bar would then make packets late: 1 to 3 ms
    at p99 on two CPUs. With a CPU of its own it was 0.1 to 0.3 ms in some series of runs and 0.7 to
    1.8 ms in others: kernel threads and other users' processes still run there.

    Yields:
        The CPU, or None where the relay needs none of its own or there is only one.
    """
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2 or _may_use_fifo():
        yield None
        return
    kept = max(cpus)
    _set_affinity(cpus - {kept})
    try:
        yield kept
    finally:
        _set_affinity(cpus)


def _set_affinity(cpus: set[int]) -> None:
    """Of all threads of this process."""
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it ended meanwhile
            os.sched_setaffinity(int(thread.name), cpus)


def _may_use_fifo() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True
