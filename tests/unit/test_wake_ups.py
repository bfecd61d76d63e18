"""Rule: a wake-up is counted from data being there to the process that waited for it running."""

from __future__ import annotations

from typing import Any, Final

import pytest

from testbed.analysis.tracing.ownership import marked
from testbed.analysis.tracing.wake_ups import wake_ups
from tests.builders.traced import NAMES, RELAY, TASK, at, raw, received

READY: Final = {"event": "sock:sk_data_ready", "sk": 5, "task": RELAY}
CALLED: Final = {"event": "sock:sock_recv_length", "sk": 5}
WAKING: Final = {"event": "sched:sched_waking", "subject": TASK, "task": RELAY}
WOKEN: Final = {"event": "sched:sched_wakeup", "subject": TASK, "task": 0, "cpu": 1}
RUNS: Final = {
    "event": "sched:sched_switch", "subject": TASK, "previous": 0, "task": 0, "cpu": 1,
}  # fmt: skip


def wakes(*rows: dict[str, Any]) -> list[tuple[int | None, ...]]:
    table = wake_ups(marked(raw(CALLED, *rows), NAMES))
    return table.select("ready_ns", "woken_ns", "running_ns", "wakeup_ns").rows()


def test_a_wake_up() -> None:
    assert wakes(READY, WAKING, WOKEN, RUNS, CALLED) == [(1000, 3000, 4000, 3000)]


def test_a_switch_that_was_not_told_is_not_guessed() -> None:
    assert wakes(READY, WAKING, WOKEN, CALLED, RUNS) == [(1000, 3000, None, None)]


def test_without_sk_data_ready_a_segment_with_payload_stands_for_it() -> None:
    rows = (
        CALLED,
        received(1, "server-eth0"),
        at("tcp:tcp_probe", 1, task=RELAY, sk=5, length_bytes=99),
        WAKING, WOKEN, RUNS, CALLED,
        received(2, "server-eth0"),
        at("tcp:tcp_probe", 2, task=RELAY, sk=5, length_bytes=0),
        WAKING, WOKEN, RUNS,
    )  # fmt: skip
    old = raw(*rows)
    assert wake_ups(marked(old, NAMES)).height == 0
    old.missing["sock:sk_data_ready"] = "not in this kernel"
    assert wake_ups(marked(old, NAMES))["wakeup_ns"].to_list() == [3000]


@pytest.mark.parametrize(
    "rows",
    [
        (READY, CALLED),
        (READY, received(1, "server-eth0"), WAKING),
        ({**READY, "sk": 6}, WAKING, RUNS),
    ],
    ids=["ran already", "woken for something else", "a stranger's socket"],
)
def test_what_is_no_wake_up(rows: tuple[dict[str, Any], ...]) -> None:
    assert wakes(*rows) == []
