"""Rule: what spoils an emulation is seen: each is provoked for real, and the verdict names it.

How much a spoiled run differs is not asserted, only that the right check is no longer faithful.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from testbed import Link, Load, Recording, Scenario, run
from testbed.recording.progress import LoadProgress, Phase, Progress
from tests.support.process_table import MARK, the_one
from tests.support.runs import manifest_of

SPINNERS: Final = 12 * (os.cpu_count() or 1)
PAUSE_S: Final = 0.5
"""Of 2 s of load: far more than a hundredth of the packets, which p99 is about."""


@pytest.fixture
def own_mark(monkeypatch: pytest.MonkeyPatch) -> str:
    name = uuid.uuid4().hex
    monkeypatch.setenv(MARK, name)
    return name


def statuses(recording: Recording, check: str) -> set[str]:
    return {r.status for r in recording.summary.verdict.reasons if r.check == check}


def paused(mark: str, words: str, seconds: float) -> Callable[[Progress], None]:
    """A listener that stops the one process with `words` for a while, soon after the start."""
    done: list[bool] = []

    def listen(event: Progress) -> None:
        if isinstance(event, LoadProgress) and event.completed >= 5 and not done:
            done.append(True)
            process = the_one(mark, words)
            os.kill(process, signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                os.kill(process, signal.SIGCONT)

    return listen


def crowded(ending: ExitStack) -> Callable[[Progress], None]:
    """A listener that makes others want every CPU, from the load's beginning to its end.

    Each in a session of its own, as the testbed's processes are: CPU time is shared among sessions
    first (sched(7), "The autogroup feature"), and one session of many would be one competitor.
    """
    spinners: list[subprocess.Popen[bytes]] = []

    def listen(event: Progress) -> None:
        if isinstance(event, LoadProgress) and not spinners:
            for _ in range(SPINNERS):
                spinner = subprocess.Popen(
                    [sys.executable, "-S", "-c", "while True: pass"], start_new_session=True
                )
                spinners.append(spinner)
                ending.callback(spinner.wait)
                ending.callback(spinner.kill)
        elif isinstance(event, Phase) and spinners:
            ending.close()

    return listen


def test_an_overloaded_machine(tmp_path: Path) -> None:
    scenario = Scenario(
        topology="single_bottleneck",
        app="hello",
        link=Link(capacity="10mbit", delay="5ms"),
        load=Load(users=4, duration="3s"),
        seed=7,
    )
    with ExitStack() as ending:
        recording = run(scenario, tmp_path / "run", crowded(ending))
    assert statuses(recording, "CPU wait") <= {"degraded", "invalid"}
    assert not recording.summary.verdict.faithful
    shares = manifest_of(recording.root).cpu_shares
    assert set(shares) >= {"client", "server", "relay", "sampler", "capture.r1"}


def test_a_relay_that_was_kept_from_running(own_mark: str, tmp_path: Path) -> None:
    scenario = Scenario(
        topology="single_bottleneck",
        app="hello",
        link=Link(capacity="10mbit", delay="5ms"),
        load=Load(rate="100/s", duration="2s"),
        seed=7,
    )
    recording = run(scenario, tmp_path / "run", paused(own_mark, "testbed.network.relay ", PAUSE_S))
    assert "invalid" in statuses(recording, "relay lateness") | statuses(recording, "delay error")
    assert recording.summary.verdict.status == "invalid"
    assert recording.summary.ledger.balanced, "late is not lost"


def test_a_capture_whose_ring_was_too_small(own_mark: str, tmp_path: Path) -> None:
    """The ring of dumpcap holds 16 MiB of packets; what comes while it is full is missed."""
    scenario = Scenario(
        topology="single_bottleneck",
        app="stream",
        link=Link(capacity="400mbit", delay="1ms", queue="500p"),
        load=Load(users=4, duration="8s", path="/?size=20MB"),
        seed=7,
    )
    recording = run(scenario, tmp_path / "run", paused(own_mark, "-i server-eth0 ", 7.5))
    assert statuses(recording, "capture drops") == {"invalid"}
    assert recording.summary.verdict.status == "invalid"
