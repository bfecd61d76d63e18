"""Rule: what a run is expected to show is read, judged and told exactly."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from testbed.analysis.expectations import judge_expectations
from testbed.analysis.foreseen import check_expectations
from testbed.analysis.summary import Expectation, Summary
from testbed.errors import QuantityError, ScenarioError
from testbed.report import wording
from testbed.scenario import Scenario
from testbed.scenario.build import build_scenario
from testbed.scenario.expectation import PARTS, Rule, parse_expectation, unit_of

SUMMARY: dict[str, Any] = {
    "verdict": {"status": "faithful"},
    "http": {
        "failed": 2,
        "retried": {"ReadTimeout": 3},
        "failures": {"ReadTimeout": 2},
        "latency_ns": {"p50": 1_000_000, "p99": 250_000_000},
        "request_rate_per_s": 38.5,
        "goodput_bit_s": 9_500_000,
    },
    "layers": {"tcp": {"reordering": {"duplicate_acks": 23}, "loss": None}},
    "links": {"a.b-c": {"forward": {"lost_packets": 9, "lost_ratio": 0.01}}},
    "ledger": {"balanced": True, "rows": []},
    "backpressure": {"origin": None},
}


@pytest.mark.parametrize(
    ("text", "figure", "relation", "value"),
    [
        ("http.failed == 0", "http.failed", "==", 0),
        ("  http.failed==0 ", "http.failed", "==", 0),
        ("http.latency_ns.p99 < 200ms", "http.latency_ns.p99", "<", 200_000_000),
        ("http.goodput_bit_s >= 9mbit", "http.goodput_bit_s", ">=", 9_000_000),
        ("http.request_rate_per_s > 30/s", "http.request_rate_per_s", ">", 30.0),
        ("journeys.explained_ratio.min >= 99%", "journeys.explained_ratio.min", ">=", 0.99),
        ("layers.a.b.per_send_bytes_p50 <= 1kB", "layers.a.b.per_send_bytes_p50", "<=", 1000),
        ("http.x > 1.5", "http.x", ">", 1.5),
        ("verdict.status == faithful", "verdict.status", "==", "faithful"),
        ("backpressure.origin.what == accept queue full", "backpressure.origin.what", "==",
         "accept queue full"),
        ("ledger.balanced == true", "ledger.balanced", "==", True),
    ],
)  # fmt: skip
def test_it_is_read(text: str, figure: str, relation: Any, value: Any) -> None:
    assert parse_expectation(text) == Rule(figure, relation, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http.failed", 'expected FIGURE RELATION VALUE, such as "http.failed == 0"'),
        ("http.failed = 0", "expected FIGURE RELATION VALUE"),
        ("http.failed === 0", "expected FIGURE RELATION VALUE"),
        ("== 3", "expected FIGURE RELATION VALUE"),
        ("", "expected FIGURE RELATION VALUE"),
        ("htp.failed == 0", 'links, state, verdict (got "htp.failed"); did you mean "http"?'),
        ("http.latency_ns.p99 < 200", "http.latency_ns.p99: expected a time with a unit"),
        ("links.a.forward.lost_ratio < 2", "expected a percentage"),
        ("http.failed < 3ms", 'http.failed: expected a number without a unit (got "3ms")'),
        ("verdict.status > faithful", "verdict.status: faithful can only be == or != (got >)"),
        ("ledger.balanced >= true", "ledger.balanced: true can only be == or != (got >=)"),
    ],
)
def test_what_is_wrong_with_it_is_told(text: str, message: str) -> None:
    with pytest.raises(QuantityError) as raised:
        parse_expectation(text)
    assert message in str(raised.value)


def test_a_part_is_a_part_of_a_summary() -> None:
    assert set(PARTS) <= {field.name for field in msgspec.structs.fields(Summary)}


def test_all_wrong_ones_of_a_scenario_are_told_with_their_places() -> None:
    with pytest.raises(ScenarioError) as raised:
        Scenario(topology="dumbbell", expect=("http.failed == 0", "no", "links < x"))
    assert [problem.where for problem in raised.value.problems] == ["expect[1]", "expect[2]"]


def test_a_command_line_may_have_several() -> None:
    scenario = build_scenario(
        "dumbbell", {"expect": ["http.failed == 0", "state == complete"]}, spelling="command line"
    )
    assert scenario.expect == ("http.failed == 0", "state == complete")


@pytest.mark.parametrize(
    ("text", "holds", "value"),
    [
        ("http.failed == 2", True, 2),
        ("http.failed != 2", False, 2),
        ("http.failed < 2", False, 2),
        ("http.failed <= 2", True, 2),
        ("http.failed > 1", True, 2),
        ("http.failed >= 3", False, 2),
        ("http.failures.ReadTimeout == 2", True, 2),
        ("http.failures.ConnectTimeout == 0", True, 0),
        ("http.failures.HTTP 503 == 0", True, 0),
        ("http.retried.ReadTimeout == 3", True, 3),
        ("http.retried.ConnectTimeout == 0", True, 0),
        ("http.latency_ns.p99 < 200ms", False, 250_000_000),
        ("links.a.b-c.forward.lost_packets == 9", True, 9),
        ("verdict.status == faithful", True, "faithful"),
        ("verdict.status != invalid", True, "faithful"),
        ("ledger.balanced == true", True, True),
        ("layers.tcp.reordering.duplicate_acks == 23", True, 23),
    ],
)
def test_it_is_judged(text: str, holds: bool, value: Any) -> None:
    assert judge_expectations([text], SUMMARY) == [
        Expectation(expect=text, holds=holds, value=value)
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("layers.tcp.loss.timeouts != 3", "no value: it was not observed, or there was none"),
        ("backpressure.origin.layer == tcp", "no value: it was not observed, or there was none"),
        ("http.fialed == 0", 'no such figure: http has no "fialed"; did you mean "failed"?'),
        ("http.failed.more == 0", "no such figure: failed is not divided further"),
        (
            "http.failures.ReadTimout == 0",
            'no request can end as "ReadTimout"; did you mean "ReadTimeout"?',
        ),
        (
            "links.r1-r2.forward.lost_packets == 0",
            'no such figure: links has no "r1-r2" (it has: a.b-c)',
        ),
        ("http.latency_ns < 1s", "not a single figure (it has: p50, p99)"),
        ("ledger.rows == x", "not a single figure"),
        ("verdict.status < 3", "not a number"),
    ],
)
def test_without_a_value_nothing_holds_and_the_reason_is_told(text: str, reason: str) -> None:
    (found,) = judge_expectations([text], SUMMARY)
    assert not found.holds
    assert found.reason == reason


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Expectation(expect="http.failed == 0", holds=True, value=0), "http.failed == 0 (0)"),
        (Expectation(expect="http.failed == 0", holds=False, value=12345),
         "http.failed == 0 (it was 12\u202f345)"),
        (Expectation(expect="http.latency_ns.p99 < 1s", holds=False, value=1_200_000_000),
         "http.latency_ns.p99 < 1s (it was 1.2 s)"),
        (Expectation(expect="links.a.forward.lost_ratio < 1%", holds=True, value=0.005),
         "links.a.forward.lost_ratio < 1% (0.5 %)"),
        (Expectation(expect="ledger.balanced == true", holds=False, value=False),
         "ledger.balanced == true (it was false)"),
        (Expectation(expect="http.x == 0", holds=False, reason="no such figure"),
         "http.x == 0 (no such figure)"),
    ],
)  # fmt: skip
def test_it_is_told_with_what_was_seen(found: Expectation, text: str) -> None:
    assert wording.expectation(found) == text


def test_units_are_those_of_the_names() -> None:
    names = [
        "http.latency_ns.p99",
        "a.wakeup_ns_p50",
        "a.fill_ratio",
        "a.bit_s_x",
        "a.lost_packets",
    ]
    assert [unit_of(name) for name in names] == ["ns", "ns", "ratio", None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http.faild == 0", 'no such figure: http has no "faild"; did you mean "failed"?'),
        ("http.failed.more == 0", "no such figure: failed is not divided further"),
        ("http.latency_ns < 1s", "not a single figure (it has: p50, p90, p99, max)"),
        ("http.latency_ns.p95 < 1s", 'latency_ns has no "p95"; did you mean'),
        ("http.failures.ReadTimout == 0", 'can end as "ReadTimout"; did you mean "ReadTimeout"?'),
        ("layers.tpc.loss.timeouts == 0", 'layers has no "tpc"; did you mean "tcp"?'),
        ("layers.tcp.lost.timeouts == 0", 'tcp has no "lost"; did you mean "loss"?'),
        ("layers.tcp.loss.timeout == 0", 'loss has no "timeout"; did you mean "timeouts"?'),
        ("layers.nic.reordering.x == 0", "it has: status, reason, loss, backpressure"),
        ("links.a-c.forward.lost_packets == 0", 'links has no "a-c"; did you mean "a-b"?'),
        ("links.a-b.back.lost_packets == 0", 'a-b has no "back" (it has: forward, reverse)'),
        ("links.a-b.forward.lost == 0", 'forward has no "lost"'),
        ("ledger.rows == 0", "not a single figure"),
        ("verdict.status == faithfull", "is one of faithful, degraded, invalid (got faithfull)"),
        ("backpressure.origin.layers == tcp", 'origin has no "layers"; did you mean "layer"?'),
    ],
)
def test_what_no_run_can_have_is_refused_before_it(text: str, message: str) -> None:
    good = "http.failed == 0"
    with pytest.raises(ScenarioError) as raised:
        check_expectations([good, text], ["a-b", "b.c-d"])
    (problem,) = raised.value.problems
    assert problem.where == "expect[1]"
    assert message in problem.message
    assert problem.message.endswith(f'(in "{text}")')
    assert raised.value.exit_code == 2


def test_all_of_them_are_told_at_once() -> None:
    with pytest.raises(ScenarioError) as raised:
        check_expectations(["http.a == 0", "http.failed == 0", "http.b == 0"], [])
    assert [problem.where for problem in raised.value.problems] == ["expect[0]", "expect[2]"]


@pytest.mark.parametrize(
    "text",
    [
        "http.latency_ns.p99 < 200ms",
        "http.failures.HTTP 503 == 0",
        "http.retried.ConnectTimeout == 0",
        "state == complete",
        "verdict.status != invalid",
        "ledger.balanced == true",
        "backpressure.origin.what == accept queue full",
        "journeys.explained_ratio.min >= 99%",
        "layers.syscall.loss.errors.ECONNRESET == 0",
        "layers.qdisc.loss.drop_reasons.WHATEVER == 0",
        "layers.tcp.loss.timeouts >= 1",
        "layers.tcp.status == observed",
        "links.b.c-d.reverse.loss_runs.2 == 1",
        "links.b.c-d.reverse.one_way_delay_ns.p99 < 1s",
    ],
)
def test_what_a_run_may_have_is_left_to_it(text: str) -> None:
    check_expectations([text], ["a-b", "b.c-d"])
