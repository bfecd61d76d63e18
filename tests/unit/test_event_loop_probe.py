"""The event loop probe sees each step, and the loop never notices."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
import trio
import trio.testing

from testbed.probes.event_loop import EventLoopProbe, open_event_loop_probe
from testbed.recording.segments import Segment

Records = npt.NDArray[np.void]
STEP, IO_WAIT = 0, 1


@pytest.fixture(autouse=True)
def _no_instrument_was_disabled(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """trio logs an error when an Instrument raises."""
    yield
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == [] or "BrokenPipeError" in (errors[0].exc_text or "")


def probe_on(path: Path) -> EventLoopProbe:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    return open_event_loop_probe(descriptor, process="server", node="h2")


def observe(path: Path, main: Any) -> Records:
    """The records of a run of `main`."""
    probe = probe_on(path)
    trio.run(main, instruments=[probe])
    probe.close()
    segment = Segment(path)
    records = segment.records()
    assert segment.cut_bytes == 0
    return records


def steps_by_task(records: Records) -> dict[int, int]:
    tasks, counts = np.unique(records["task"][records["kind"] == STEP], return_counts=True)
    return dict(zip(tasks.tolist(), counts.tolist(), strict=True))


async def pause(times: int) -> None:
    for _ in range(times):
        await trio.lowlevel.cancel_shielded_checkpoint()


def test_sees_each_of_23_steps(tmp_path: Path) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pause, 22)

    counts = steps_by_task(observe(tmp_path / "loop.seg", main))
    # 22 checkpoints part a task into 23 steps; trio's own tasks and the main one take a handful.
    assert sorted(counts.values())[-1] == 23
    assert sorted(counts.values())[-2] < 10


def test_records_are_in_order_and_do_not_overlap(tmp_path: Path) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(pause, 100)

    before_ns = monotonic_ns()
    records = observe(tmp_path / "loop.seg", main)
    assert (records["scheduled_ns"] <= records["started_ns"]).all()
    assert (records["started_ns"] <= records["ended_ns"]).all()
    # One loop does one thing at a time, and records are written in the order in which they end.
    assert (records["ended_ns"][:-1] <= records["started_ns"][1:]).all()
    assert before_ns <= records["started_ns"][0]
    assert records["ended_ns"][-1] <= monotonic_ns()
    assert records["kind"].max() == IO_WAIT
    assert (records["task"][records["kind"] == IO_WAIT] == 0).all()
    assert (records["task"][records["kind"] == STEP] > 0).all()
    assert (records["pad"] == 0).all()


def test_more_records_than_its_buffers_hold(tmp_path: Path) -> None:
    async def main() -> None:
        await pause(20_000)

    counts = steps_by_task(observe(tmp_path / "loop.seg", main))
    assert max(counts.values()) == 20_001


def test_blocking_step_is_seen(tmp_path: Path) -> None:
    block_ns = 30_000_000

    async def block() -> None:
        end_ns = monotonic_ns() + block_ns
        while monotonic_ns() < end_ns:
            pass

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            nursery.start_soon(pause, 3)

    records = observe(tmp_path / "loop.seg", main)
    steps = records[records["kind"] == STEP]
    longest = steps[np.argmax(steps["ended_ns"] - steps["started_ns"])]
    assert longest["ended_ns"] - longest["started_ns"] >= block_ns


def test_counts_runnable_tasks(tmp_path: Path) -> None:
    async def main() -> None:
        await trio.testing.wait_all_tasks_blocked()  # trio's own tasks have settled
        async with trio.open_nursery() as nursery:
            for _ in range(7):
                nursery.start_soon(pause, 0)

    records = observe(tmp_path / "loop.seg", main)
    steps = records[records["kind"] == STEP]
    assert steps["runnable"].max() == 7
    assert steps["runnable"].min() == 1


def test_each_task_has_a_number_of_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        for _ in range(23):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pause, 1)

    counts = steps_by_task(observe(tmp_path / "loop.seg", main))
    assert len(counts) >= 23 + 1
    assert sorted(counts) == list(range(1, len(counts) + 1))


def test_tasks_that_fail_or_are_cancelled_do_no_harm(tmp_path: Path) -> None:
    async def fail() -> None:
        await pause(1)
        raise ZeroDivisionError

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail)

    probe = probe_on(tmp_path / "loop.seg")
    with pytest.raises(ExceptionGroup):
        trio.run(main, instruments=[probe])
    probe.close()
    assert len(Segment(tmp_path / "loop.seg").records()) > 0


def test_added_while_tasks_are_under_way(tmp_path: Path) -> None:
    probe = probe_on(tmp_path / "loop.seg")

    before_ns = monotonic_ns()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pause, 40)
            nursery.start_soon(trio.sleep, 0)
            await pause(10)
            trio.lowlevel.add_instrument(probe)
            await pause(10)
            trio.lowlevel.remove_instrument(probe)  # KeyError if trio had disabled it
            await pause(10)

    trio.run(main)
    probe.close()
    records = Segment(tmp_path / "loop.seg").records()
    assert (records["started_ns"] >= before_ns).all()
    assert (records["scheduled_ns"] <= records["started_ns"]).all()
    # Ten checkpoints of the main task make nine whole steps between adding and removing. The other
    # task takes its turn once a round, so nine to eleven times; one may be left of the sleep.
    counts = sorted(steps_by_task(records).values())
    assert counts[-1] in (9, 10, 11)
    assert sum(counts) in range(18, 22)


def test_more_runnable_tasks_than_the_record_can_say(tmp_path: Path) -> None:
    probe = probe_on(tmp_path / "loop.seg")
    tasks = [cast("trio.lowlevel.Task", object()) for _ in range(70_000)]
    for task in tasks:
        probe.task_scheduled(task)
    probe.before_task_step(tasks[0])
    probe.after_task_step(tasks[0])
    probe.close()
    assert Segment(tmp_path / "loop.seg").records()["runnable"].tolist() == [65_535]


def test_full_disk_does_not_stop_the_loop_and_is_not_silent() -> None:
    reader, writer = os.pipe()
    probe = open_event_loop_probe(writer, process="server", node="h2")
    os.close(reader)
    done = []

    async def main() -> None:
        await pause(20_000)
        done.append(True)

    trio.run(main, instruments=[probe])
    assert done == [True]
    with pytest.raises(BrokenPipeError):
        probe.close()
    os.close(writer)
