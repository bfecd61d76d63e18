"""Facts of this machine for the manifest and the verdict."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "mininet", "trio", "httpx", "httpcore", "h11", "hypercorn", "numpy", "msgspec", "polars",
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
