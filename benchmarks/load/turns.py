"""One turn of each subject: a process that makes requests to the server beside it.

Rules:

- Ours is the load process as a run starts it, with the segment of its http probe in a file. Its
  rate is taken from what it recorded: completed requests, from the first start to the last end.
- CPU time is the process's own while the load ran. Of ours it is read from /proc, when it is ready
  and when it has ended: the same work, and the end of the process besides.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from testbed.errors import RunError
from testbed.events.http import HttpExchange
from testbed.load.config import LoadConfig
from testbed.recording.segments import Segment
from testbed.scenario import Load
from testbed.units import NS_PER_S

TIMEOUT_S: Final = 600
OURS, OBSERVED, BARE = "our load", "our load, observed", "bare httpx"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one turn."""

    subject: str
    requests_per_s: float
    cpu_ns_per_request: float
    cpu_ratio: float
    """Of one CPU, while the load ran."""
    cpu_wait_ratio: float = 0
    """Share of that time in which it was ready to run and others had the CPUs; of ours."""
    late_ns: list[int] = []
    """How late each request of an open loop was started."""


@contextmanager
def server() -> Iterator[str]:
    """A server on loopback; its URL."""
    argv = [sys.executable, "-m", "benchmarks.load.answer"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().decode().strip()
        if not port:
            raise RunError("benchmarks.load.answer did not start")
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()


def bare(url: str, users: int, requests: int) -> Turn:
    """A turn of the bare loop.

    Raises:
        RunError: a request failed.
    """
    argv = [sys.executable, "-m", "benchmarks.load.bare", f"{url}/", str(users), str(requests)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise RunError(f"{BARE} ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    return Turn(
        subject=BARE,
        requests_per_s=requests / found["elapsed_ns"] * NS_PER_S,
        cpu_ns_per_request=found["cpu_ns"] / requests,
        cpu_ratio=found["cpu_ns"] / found["elapsed_ns"],
    )


def ours(url: str, load: Load, folder: Path, *, observed: bool = False) -> Turn:
    """A turn of our load process.

    Args:
        url: the server's.
        load: what to ask for.
        folder: for its segments.
        observed: with the probes of its event loop and its system calls, as ``--probes all``.

    Raises:
        RunError: it failed, or a request did.
    """
    names = ("http", "event_loop", "syscall") if observed else ("http",)
    files = {name: folder / f"{name}.seg" for name in names}
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    descriptors = {name: os.open(path, flags, 0o600) for name, path in files.items()}
    progress, told = os.pipe()
    config = LoadConfig(
        name="client",
        node="client",
        base_urls=[url],
        load=load,
        seed=1,
        http_fd=descriptors["http"],
        event_loop_fd=descriptors.get("event_loop"),
        syscall_fd=descriptors.get("syscall"),
        progress_fd=told,
    )
    cpu_ns, wait_ns = _run(config, [*descriptors.values(), told], progress)
    decode = msgspec.json.Decoder(HttpExchange).decode
    exchanges = [decode(frame.payload) for frame in Segment(files["http"]).frames()]
    failed = [exchange for exchange in exchanges if exchange.failure]
    if failed or not exchanges:
        raise RunError(f"{len(failed)} of {len(exchanges)} requests failed: {failed[:1]}")
    began_ns = min(exchange.started_ns for exchange in exchanges)
    elapsed_ns = max(exchange.ended_ns for exchange in exchanges) - began_ns
    return Turn(
        subject=OBSERVED if observed else OURS,
        requests_per_s=len(exchanges) / elapsed_ns * NS_PER_S,
        cpu_ns_per_request=cpu_ns / len(exchanges),
        cpu_ratio=cpu_ns / elapsed_ns,
        cpu_wait_ratio=wait_ns / elapsed_ns,
        late_ns=[] if load.rate is None else [e.started_ns - e.intended_ns for e in exchanges],
    )


def _run(config: LoadConfig, descriptors: list[int], progress: int) -> tuple[int, int]:
    """Runs a load process from beginning to end; its times in ns since it was ready."""
    argv = [sys.executable, "-m", "testbed.load", msgspec.json.encode(config).decode()]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, pass_fds=descriptors) as process:
        try:
            for descriptor in descriptors:
                os.close(descriptor)
            assert process.stdin is not None
            with os.fdopen(progress, "rb") as lines:
                lines.readline()
                before = _schedule_ns(process.pid)
                process.stdin.write(b"go\n")
                process.stdin.flush()
                lines.read()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            after = _schedule_ns(process.pid)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise RunError(f"{OURS} ended with {process.returncode}")
    return after[0] - before[0], after[1] - before[1]


def _schedule_ns(pid: int) -> tuple[int, int]:
    """How long a process's first thread ran, and how long it waited for a CPU.

    Documentation/scheduler/sched-stats.rst.
    """
    ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(ran), int(waited)
