"""Why slow: words of stages, and shares of several parts of the way as one."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from testbed.analysis.journey.stage import Kind, Label, Part
from testbed.analysis.journey.why_slow import at_quantile, words
from testbed.analysis.summary import JourneysAtQuantile, JourneyStageShare, JourneySummary
from testbed.report.why_slow import KINDS, legend, quantile_rows, render, sentence, telling


def share(
    stage: str, ratio: float, kind: Kind = "queueing", where: str = "", note: str = "", **more: Part
) -> JourneyStageShare:
    return JourneyStageShare(
        stage=stage,
        layer="qdisc",
        kind=kind,
        where=where,
        note=note,
        part=more.get("part", "request"),
        mean_ns=round(ratio * 1000),
        ratio=ratio,
    )


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            share("recovery", 0.5, "recovery", "r1-r2", "by timeout"),
            "recovery by timeout, lost on r1-r2",
        ),
        (
            share("recovery", 0.5, "recovery", "the queue of r1", "by fast retransmit"),
            "recovery by fast retransmit, lost in the queue of r1",
        ),
        (share("recovery", 0.5, "recovery", "", "by timeout"), "recovery by timeout"),
        (share("unexplained", 0.5, "unexplained"), "unexplained"),
        (share("in the queue", 0.5, where="r1-r2"), "queueing: in the queue, r1-r2"),
        (
            share("send buffer full", 0.5, "backpressure", "s", "by the path"),
            "backpressure: send buffer full by the path, s",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_stage_in_words(one: JourneyStageShare, expected: str) -> None:
    assert words(one) == expected


def at(*stages: JourneyStageShare) -> JourneysAtQuantile:
    return JourneysAtQuantile(
        quantile="p99", latency_ns=1000, requests=1, stages=list(stages), other_ratio=0.0
    )


QUEUES = at(
    share("handler", 0.4, "work"),
    share("in the queue", 0.35, where="r1-r2", part="connect"),
    share("in the queue", 0.25, where="r1-r2", part="request"),
)


def test_the_same_wait_in_two_parts_of_the_way_is_one() -> None:
    first, second = telling(QUEUES)
    assert (first.stage, first.mean_ns) == ("in the queue", 600)
    assert first.ratio == pytest.approx(0.6)
    assert second.stage == "handler"


def summary(explained: float | None, requests: int = 23) -> JourneySummary:
    return JourneySummary(
        requests=requests,
        explained_ratio=None,
        explained_requests_ratio=explained,
        why_slow=[QUEUES],
        sentence="",
    )


def test_bars_lie_end_to_end() -> None:
    (row,) = quantile_rows(summary(1.0))
    assert [bar.left for bar in row.bars] == pytest.approx([0, 60])
    assert [bar.width for bar in row.bars] == pytest.approx([60, 40])


def test_a_bar_is_full_with_what_is_too_small_to_be_named() -> None:
    stages = [share("handler", 0.6, "work"), share("in the queue", 0.1, where="r1-r2")]
    rest = JourneysAtQuantile(
        quantile="p99", latency_ns=1000, requests=1, stages=stages, other_ratio=0.3
    )
    rows = quantile_rows(msgspec.structs.replace(summary(1.0), why_slow=[rest]))
    last = rows[0].bars[-1]
    assert (last.kind, last.stage, last.amount) == ("other", "smaller stages", "30 %, 300 ns")
    assert last.left + last.width == pytest.approx(100)
    assert legend(rows) == [*KINDS, "other"]


def test_no_rest_where_rounding_alone_leaves_one() -> None:
    rounded = msgspec.structs.replace(QUEUES, other_ratio=1e-16)
    rows = quantile_rows(msgspec.structs.replace(summary(1.0), why_slow=[rounded]))
    assert len(rows[0].bars) == 2
    assert "other" not in legend(rows)


def test_a_table_with_a_column_of_kinds_has_the_stage_alone() -> None:
    (row,) = quantile_rows(summary(1.0))
    assert [bar.words for bar in row.bars] == ["queueing: in the queue, r1-r2", "work: handler"]
    assert [bar.stage for bar in row.bars] == ["in the queue, r1-r2", "handler"]


def printed(*found: JourneysAtQuantile) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(render(msgspec.structs.replace(summary(1.0), why_slow=list(found))))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def quantiles(*requests: int) -> list[JourneysAtQuantile]:
    """p90 and p99 are the same where there are two numbers."""
    names = zip(("p50", "p90", "p99"), (1000, 2000, len(requests) * 1000), strict=True)
    return [
        msgspec.structs.replace(QUEUES, quantile=name, latency_ns=latency_ns, requests=number)
        for (name, latency_ns), number in zip(names, (*requests, requests[-1])[:3], strict=True)
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (quantiles(21, 21, 4), "Shares of the 21, 21 and 4 requests around them."),
        (quantiles(1, 1), "Shares of one request at each."),
        ([QUEUES], "Shares of the only request there."),
    ],
    ids=["many", "one each", "one"],
)
def test_how_many_requests_the_shares_are_of(
    found: list[JourneysAtQuantile], expected: str
) -> None:
    assert expected in printed(*found)


def test_shares_have_the_same_place_whatever_is_joined() -> None:
    apart, joined = printed(*quantiles(3, 3, 3)), printed(*quantiles(3, 3))
    assert "p90 to p99" not in apart
    assert "p90 to p99" in joined
    assert apart.splitlines()[0] == joined.splitlines()[0]


@pytest.mark.parametrize(
    ("explained", "expected"),
    [
        (None, "No request was completed."),
        (1.0, "23 of 23 requests are explained to 99 % or more."),
        (1 / 23, "1 of 23 requests is explained to 99 % or more."),
        (0.0, "No request is explained to 99 %: that needs captures and the system "),
    ],
)
def test_how_much_is_explained(explained: float | None, expected: str) -> None:
    assert sentence(summary(explained)).startswith(expected)


def test_a_quantile_is_made_of_requests_of_its_own_latency() -> None:
    """100 requests of 100 ms in a queue, and one of 1 s that waits for a timeout."""
    ms = 1_000_000
    latency = np.array([100 * ms] * 100 + [1000 * ms], np.int64)
    stages = SimpleNamespace(
        request=np.arange(101),
        code=np.array([0] * 100 + [1]),
        started_ns=np.zeros(101, np.int64),
        ended_ns=latency,
        labels=[
            Label("in the queue", "qdisc", "queueing"),
            Label("recovery", "tcp", "recovery", "r1-r2", "by timeout"),
        ],
    )
    found: Any = SimpleNamespace(stages=stages)
    at = at_quantile(found, "p99", np.arange(101), latency)
    assert (at.latency_ns, at.requests) == (100 * ms, 2)
    assert [(one.stage, one.ratio) for one in at.stages] == [("in the queue", 1.0)]
