"""The tape: stages of a request are contiguous and add up to its latency, whatever is laid down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.journey.stage import UNEXPLAINED, Label
from testbed.analysis.journey.tape import Intervals, Stages, Tape
from testbed.analysis.matching import NONE

WORK = Label("works", "http", "work")
QUEUE = Label("waits", "qdisc", "queueing")
FULL = Label("full", "socket", "backpressure")


def array(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def seen(stages: Stages, request: int = 0) -> list[tuple[str, int, int]]:
    mine = stages.request == request
    return [
        (stages.labels[code].stage, int(start), int(end))
        for code, start, end in zip(
            stages.code[mine], stages.started_ns[mine], stages.ended_ns[mine], strict=True
        )
    ]


def test_stages_end_where_their_milestones_are() -> None:
    tape = Tape(array(100), array(200))
    tape.advance(array(130), WORK)
    tape.advance(array(180), QUEUE)
    tape.advance(array(200), WORK)
    assert seen(tape.stages()) == [("works", 100, 130), ("waits", 130, 180), ("works", 180, 200)]


def test_what_was_not_seen_is_unexplained_and_swallowed_by_no_other_stage() -> None:
    tape = Tape(array(100), array(200))
    tape.advance(array(130), WORK)
    tape.advance(array(NONE), QUEUE)
    tape.advance(array(170), FULL)
    tape.advance(array(180), QUEUE)
    assert seen(tape.stages()) == [
        ("works", 100, 130), ("unexplained", 130, 170), ("waits", 170, 180),
        ("unexplained", 180, 200),
    ]  # fmt: skip


def test_a_stage_in_the_shadow_of_another_takes_no_time() -> None:
    tape = Tape(array(100), array(200))
    tape.advance(array(150), QUEUE)
    tape.advance(array(120), WORK)
    tape.advance(array(200), FULL)
    assert seen(tape.stages()) == [("waits", 100, 150), ("full", 150, 200)]


def test_a_milestone_after_the_end_is_the_end() -> None:
    tape = Tape(array(100), array(200))
    tape.advance(array(900), WORK)
    assert seen(tape.stages()) == [("works", 100, 200)]


def test_a_stage_that_a_request_does_not_have_leaves_it_alone() -> None:
    tape = Tape(array(0, 0), array(10, 10))
    tape.advance(array(NONE, 5), QUEUE, np.array([False, True]))
    tape.advance(array(10, 10), WORK)
    stages = tape.stages()
    assert seen(stages, 0) == [("works", 0, 10)]
    assert seen(stages, 1) == [("waits", 0, 5), ("works", 5, 10)]


def test_intervals_divide_a_time_and_the_first_in_the_list_counts() -> None:
    tape = Tape(array(0, 0), array(100, 100))
    full = Intervals(array(0, 0, 1), array(20, 60, 10), array(30, 200, 40), FULL)
    queue = Intervals(array(0, 0), array(-5, 25), array(5, 50), QUEUE)
    tape.cover(array(80, 100), WORK, [full, queue])
    stages = tape.stages()
    assert seen(stages, 0) == [
        ("waits", 0, 5), ("works", 5, 20), ("full", 20, 30), ("waits", 30, 50), ("works", 50, 60),
        ("full", 60, 80), ("unexplained", 80, 100),
    ]  # fmt: skip
    assert seen(stages, 1) == [("works", 0, 10), ("full", 10, 40), ("works", 40, 100)]


def test_a_time_that_began_unseen_is_not_divided() -> None:
    tape = Tape(array(0), array(100))
    tape.advance(array(NONE), QUEUE)
    tape.cover(array(80), WORK, [Intervals(array(0), array(20), array(30), FULL)])
    tape.advance(array(100), WORK)
    assert seen(tape.stages()) == [("unexplained", 0, 80), ("works", 80, 100)]


def test_intervals_of_no_request_are_left_out() -> None:
    tape = Tape(array(0), array(10))
    tape.cover(array(10), WORK, [Intervals(array(NONE), array(2), array(3), FULL)])
    assert seen(tape.stages()) == [("works", 0, 10)]


def test_parts_of_the_journey_are_told_apart() -> None:
    tape = Tape(array(0), array(10))
    tape.advance(array(4), WORK)
    tape.part = "server"
    tape.advance(array(10), WORK)
    stages = tape.stages()
    assert [stages.labels[code].part for code in stages.code] == ["start", "server"]


times = st.integers(-50, 250)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.lists(st.one_of(times, st.just(NONE)), min_size=3)),
        st.tuples(st.just("cover"), st.lists(st.tuples(st.integers(-1, 2), times, times))),
    ),
    max_size=8,
)


@given(steps)
def test_stages_are_contiguous_and_add_up(steps: Sequence[tuple[str, list[object]]]) -> None:
    intended, ended = array(0, 10, 20), array(100, 10, 200)
    tape = Tape(intended, ended)
    for kind, values in steps:
        if kind == "advance":
            tape.advance(np.array(values[:3], np.int64), WORK)
        else:
            rows = np.array(values, np.int64).reshape(-1, 3)
            parts = [Intervals(rows[:, 0], rows[:, 1], rows[:, 2], FULL)]
            tape.cover(array(90, 90, NONE), QUEUE, parts)
    stages = tape.stages()
    for request in range(3):
        mine = seen(stages, request)
        bounds = [mine[0][1], *(end for _, _, end in mine)] if mine else [intended[request]]
        assert bounds[0] == intended[request]
        assert bounds[-1] == ended[request]
        assert all(end > start for _, start, end in mine)
        assert [start for _, start, _ in mine[1:]] == [end for _, _, end in mine[:-1]]
    assert stages.labels[0] == UNEXPLAINED
