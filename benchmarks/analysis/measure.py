"""A program as a child process: its time, its CPU time and its largest memory.

Rules:

- The CPU time and the memory are the child's own (wait4), its threads included.
- Python keeps what it compiled, as it does in an installation, also where the environment says that
  it shall not (PYTHONDONTWRITEBYTECODE).
- The output goes to /dev/null; what the program wrote to standard error is in the error where it
  failed.
- This process stays small: until it calls exec, a child counts its parent's memory as its own.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import Final

import msgspec

from testbed.errors import RunError

TIMEOUT_S: Final = 900
OURS, DECODING, TSHARK = "our analysis", "our decoding", "tshark"
SUBJECTS: Final = (OURS, DECODING, TSHARK)
TSHARK_FIELDS: Final = (
    "frame.time_epoch", "frame.len", "ip.src", "ip.dst", "tcp.stream", "tcp.seq", "tcp.ack",
    "tcp.len", "tcp.window_size", "tcp.analysis.flags",
)  # fmt: skip
"""A part of what our tables hold; its own TCP analysis, which needs the conversation followed."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What one subject took in one round."""

    subject: str
    wall_s: float
    cpu_s: float
    memory_bytes: int


def argvs(subject: str, root: Path, tshark: str | None) -> list[list[str]]:
    """The commands of a subject; those of tshark one after the other, one for each capture."""
    if subject == TSHARK:
        fields = [word for name in TSHARK_FIELDS for word in ("-e", name)]
        return [
            [str(tshark), "-n", "-r", str(path), "-T", "fields", *fields]
            for path in sorted((root / "packets").glob("*.pcapng"))
        ]
    what = "analyse" if subject == OURS else "decode"
    return [[sys.executable, "-m", "benchmarks.analysis.work", what, str(root)]]


def measure(subject: str, commands: Sequence[Sequence[str]]) -> Used:
    """Runs the commands one after the other.

    Raises:
        RunError: one of them failed or took too long.
    """
    parts = [_run(command) for command in commands]
    return Used(
        subject=subject,
        wall_s=sum(wall for wall, _, _ in parts),
        cpu_s=sum(cpu for _, cpu, _ in parts),
        memory_bytes=max(memory for _, _, memory in parts),
    )


def _run(command: Sequence[str]) -> tuple[float, float, int]:
    with TemporaryFile() as complaints:
        started = time.perf_counter()
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=complaints, env=_environment()
        )
        try:
            status, usage = _wait(child.pid, started + TIMEOUT_S)
        except BaseException:
            child.kill()
            child.wait()
            raise
        wall_s = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            complaints.seek(0)
            said = complaints.read()[-2000:].decode("utf-8", "replace").strip()
            raise RunError(f"{' '.join(command)} ended with {child.returncode}: {said}")
    return wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _wait(pid: int, until: float) -> tuple[int, resource.struct_rusage]:
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return status, usage
        if time.perf_counter() > until:
            raise RunError(f"a process took longer than {TIMEOUT_S} s")
        time.sleep(0.01)


def packets_of(root: Path) -> int:
    """How many packets the captures of a recording have.

    Raises:
        RunError: it is no recording, or no capture of it can be read.
    """
    argv = [sys.executable, "-m", "benchmarks.analysis.work", "count", str(root)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0 or int(done.stdout) == 0:
        raise RunError(f"{root} has no captures to analyse: {done.stderr.strip()[-500:]}")
    return int(done.stdout)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A subject over all rounds: medians, of memory the most."""

    subject: str
    packets_per_s: float
    cpu_us_per_packet: float
    cpus: float
    """CPU time in a second."""
    memory_bytes: int
    of_tshark: float | None
    """Speed as a multiple of tshark's of the same round."""
    of_tshark_cpu: float | None
    """The same by CPU time: how many times as much tshark takes."""


def rows(used: Sequence[Used], packets: int) -> list[Row]:
    """A row for each subject that was measured."""
    by_subject = {s: [u for u in used if u.subject == s] for s in SUBJECTS}
    reference = by_subject[TSHARK]
    found = []
    for subject, own in by_subject.items():
        if not own:
            continue
        pairs = list(zip(own, reference, strict=False))
        found.append(
            Row(
                subject=subject,
                packets_per_s=packets / median(u.wall_s for u in own),
                cpu_us_per_packet=median(u.cpu_s for u in own) / packets * 1e6,
                cpus=median(u.cpu_s / u.wall_s for u in own),
                memory_bytes=max(u.memory_bytes for u in own),
                of_tshark=median(r.wall_s / u.wall_s for u, r in pairs) if pairs else None,
                of_tshark_cpu=median(r.cpu_s / u.cpu_s for u, r in pairs) if pairs else None,
            )
        )
    return found
