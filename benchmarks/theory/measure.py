"""Runs measurements, each in a sandbox of its own, and reads what they left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from benchmarks.theory import iperf3, lab, ping, relay_log
from benchmarks.theory.lab import Answer, Job, Orders
from testbed.errors import MachineError, RunError
from testbed.network.tools import find_tool
from testbed.recording.layout import Layout, create
from testbed.sandbox.launcher import Sandbox

_START_AND_END_S: Final = 120.0
"""Bound on hanging beyond the seconds of the measurement; an idle machine needs 2 s."""
_SAID, _COMPLAINED = "lab.stdout", "lab.stderr"
"""Logs of the process in the sandbox."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a job."""

    job: Job
    layout: Layout
    answer: Answer
    flow: iperf3.Flow
    idle: ping.Pings | None
    loaded: ping.Pings | None

    def latest_ns(self) -> int:
        """The most that the relay added to a round trip.

        The largest lateness of each direction of each link, summed. A CPU that stood still shows
        in it, too, where a packet was due meanwhile.
        """
        ways = relay_log.crossings(self.layout)
        return sum(relay_log.lateness(self.layout, *way).max_ns for way in ways)


def check_tools() -> None:
    """Looks for the tools that measure.

    Raises:
        ToolMissingError: naming the one that is not installed.
    """
    for tool in ("iperf3", "ping"):
        find_tool(tool)


def measure_all(
    folder: Path,
    jobs: Sequence[Job],
    *,
    at_once: int,
    relay_cpu: int | None = None,
    tell: Callable[[str], None] = lambda _text: None,
) -> list[Measured]:
    """Measures all jobs, in their order.

    Args:
        folder: gets a folder for each job with what the tools printed and the relay's logs.
        jobs: what to measure.
        at_once: how many side by side; they share nothing but the CPUs.
        relay_cpu: a CPU that is kept free for the relay.
        tell: is told what is measured now.

    Raises:
        TestbedError: the machine cannot do it, or a tool failed or hung.
    """
    found = []
    for first in range(0, len(jobs), at_once):
        together = jobs[first : first + at_once]
        seconds = max(job.takes_s for job in together)
        tell(f"{', '.join(job.name for job in together)}: {seconds:.0f} s")
        with ExitStack() as stack:
            running = [
                stack.enter_context(_Running(folder / job.name, job, relay_cpu)) for job in together
            ]
            found += [one.result() for one in running]
    return found


class _Running:
    """A job in its sandbox; leaving it ends the sandbox."""

    def __init__(self, folder: Path, job: Job, relay_cpu: int | None) -> None:
        self._job = job
        self._layout = create(folder.resolve())
        told = msgspec.json.encode(
            Orders(root=str(self._layout.root), job=job, relay_cpu=relay_cpu)
        )
        command = [sys.executable, "-m", lab.__name__, told.decode()]
        said, complained = self._layout.log(_SAID), self._layout.log(_COMPLAINED)
        with said.open("wb") as stdout, complained.open("wb") as stderr:
            self._sandbox = Sandbox(command, stdout=stdout, stderr=stderr)

    def result(self) -> Measured:
        """What came of it, once it has ended.

        Raises:
            MachineError, RunError: it failed, or did not end in time.
        """
        bound_s = _START_AND_END_S + self._job.takes_s
        try:
            self._sandbox.wait(bound_s)
        except subprocess.TimeoutExpired:
            message = f"the measurement did not end within {bound_s:.0f} s"
            raise RunError(message, where=self._job.name) from None
        job = self._job
        return Measured(
            job=job,
            layout=self._layout,
            answer=self._answer(),
            flow=iperf3.parse(self._output(lab.FLOW)),
            idle=ping.parse(self._output(lab.IDLE_PING)) if job.idle_pings else None,
            loaded=ping.parse(self._output(lab.LOADED_PING)) if job.loaded_pings else None,
        )

    def _answer(self) -> Answer:
        text = self._layout.log(_SAID).read_bytes()
        if not text:
            trouble = self._layout.log(_COMPLAINED).read_text(errors="replace").strip()
            raise RunError(trouble or "ended without a word", where=self._job.name)
        answer = msgspec.json.decode(text, type=Answer)
        if answer.failure:
            kind = MachineError if answer.exit_code == MachineError.exit_code else RunError
            raise kind(answer.failure, where=self._job.name)
        return answer

    def _output(self, process: str) -> str:
        return self._layout.log(f"{process}.stdout").read_text(encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sandbox.close()
