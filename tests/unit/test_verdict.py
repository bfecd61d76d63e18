from __future__ import annotations

from typing import Any

import pytest

from testbed.analysis import verdict as judge
from testbed.analysis import verdict_machine as machine
from testbed.analysis.ledger_rows import row
from testbed.analysis.metrics.binomial import interval
from testbed.analysis.summary import NO_RULE, Impairment, Ledger, Quantiles, Reason

MS, US = 1_000_000, 1_000


def spread(p99: int) -> Quantiles:
    return Quantiles(p50=0, p90=0, p99=p99, max=p99)


def reason(status: str) -> Reason:
    return Reason(check="x", status=status, message="")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["faithful"], "faithful"),
        (["faithful", "degraded", "faithful"], "degraded"),
        (["degraded", "invalid", "faithful"], "invalid"),
        ([], "degraded"),
    ],
)
def test_the_verdict_is_the_worst_reason(statuses: list[str], expected: str) -> None:
    assert judge.verdict([reason(status) for status in statuses]).status == expected


@pytest.mark.parametrize(
    ("late_ns", "capacity", "delay_ns", "expected"),
    [
        # One packet of 1514 bytes takes 1211.2 us at 10 Mbit/s.
        pytest.param(605_600, 10**7, 0, "faithful", id="half a packet"),
        pytest.param(605_601, 10**7, 0, "degraded", id="more than half"),
        pytest.param(1_211_200, 10**7, 0, "degraded", id="a packet"),
        pytest.param(1_211_201, 10**7, 0, "invalid", id="more than a packet"),
        pytest.param(250 * US, None, 0, "faithful", id="no capacity, half the bound"),
        pytest.param(501 * US, None, 0, "invalid", id="no capacity, more than the bound"),
        pytest.param(501 * US, None, 20 * MS, "degraded", id="5 % of 20 ms are 1 ms"),
        pytest.param(1001 * US, None, 20 * MS, "invalid", id="more than 5 % of the delay"),
    ],
)
def test_relay_lateness(late_ns: int, capacity: int | None, delay_ns: int, expected: str) -> None:
    found = judge.relay_lateness("a → b", spread(late_ns), capacity, delay_ns)
    assert found.status == expected
    assert found.value == late_ns
    assert found.message.startswith("a → b: packets left")


@pytest.mark.parametrize(
    ("error_ns", "expected"),
    [(605_600, "faithful"), (605_601, "degraded"), (1_211_201, "invalid")],
)
def test_delay_error_has_the_bound_of_a_packet(error_ns: int, expected: str) -> None:
    found = judge.delay_error("a → b", spread(error_ns), 10**7, 20 * MS)
    assert (found.status, found.value, found.bound) == (expected, error_ns, 1_211_200)
    assert found.message.startswith("a → b: packets took")


@pytest.mark.parametrize(("count", "expected"), [(0, "faithful"), (1, "invalid")])
def test_overflow_and_capture_drops_allow_none(count: int, expected: str) -> None:
    assert judge.relay_overflow(count).status == expected
    assert judge.capture_drops(count, 100).status == expected


def test_what_was_not_observed_is_degraded() -> None:
    for found in (
        judge.capture_drops(None, 5),
        machine.stolen_cpu(None),
        judge.balance(Ledger(balanced=True, rows=[row("x", 1, None, 0, 0)])),
        machine.load_generator(None, 5.0),
    ):
        assert found is not None
        assert found.status == "degraded"
        assert found.message.startswith("not checked")


def test_the_ledger_names_the_first_row_that_does_not_balance() -> None:
    rows = [row("a", 5, 5, 0, 0), row("b", 5, 3, 1, 0, note="seen"), row("c", 9, 1, 0, 0)]
    found = judge.balance(Ledger(balanced=False, rows=rows))
    assert found.status == "invalid"
    assert found.message == (
        "2 of 3 rows do not balance; b: entered 5, left 3, dropped 1, held 0 (seen)"
    )
    assert rows[1].difference == 1
    assert judge.balance(Ledger(balanced=True, rows=rows[:1])).message == "all 1 rows balance"


def test_strangers_unbalance_a_row_without_a_difference() -> None:
    found = row("x", 5, 5, 0, 0, strangers=2)
    assert (found.difference, found.balanced) == (0, False)
    assert found.note == "2 packets are not the same on both sides"


@pytest.mark.parametrize(
    ("late_ns", "rate", "expected"),
    [
        pytest.param(5 * MS, 200.0, "faithful", id="half of 10 ms"),
        pytest.param(6 * MS, 200.0, "degraded", id="more than half"),
        pytest.param(11 * MS, 200.0, "invalid", id="more than 10 ms"),
        pytest.param(11 * MS, 1.0, "faithful", id="10 % of a second is 100 ms"),
    ],
)
def test_load_generator(late_ns: int, rate: float, expected: str) -> None:
    found = machine.load_generator(spread(late_ns), rate)
    assert found is not None
    assert found.status == expected


def test_a_closed_loop_has_no_schedule() -> None:
    assert machine.load_generator(spread(10**12), None) is None


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.0, "faithful"),
        (0.01, "faithful"),
        (0.011, "degraded"),
        (0.05, "degraded"),
        (0.06, "invalid"),
    ],
)
def test_stolen_cpu(ratio: float, expected: str) -> None:
    assert machine.stolen_cpu(ratio).status == expected


@pytest.mark.parametrize(
    ("lost", "sent", "configured", "expected"),
    [
        pytest.param(20, 1000, 0.02, "faithful", id="as asked"),
        pytest.param(38, 1000, 0.02, "degraded", id="beyond 99.9 %"),
        pytest.param(35, 1000, 0.02, "faithful", id="within 99.9 %"),
        pytest.param(0, 100, 0.02, "faithful", id="none in 100 is no surprise"),
        pytest.param(0, 1000, 0.02, "degraded", id="none in 1000 is"),
        pytest.param(1, 1000, 0.0, "degraded", id="one where none was asked for"),
    ],
)
def test_realised_loss(lost: int, sent: int, configured: float, expected: str) -> None:
    low, high = interval(lost, sent)
    seen = impairment(
        packets=sent,
        count=lost,
        configured_ratio=configured,
        low=low,
        high=high,
        holds=low <= configured <= high,
    )
    found = judge.realised("a → b", seen)
    assert found is not None
    assert (found.check, found.status) == ("realised loss", expected)


def impairment(**fields: Any) -> Impairment:
    known = {"impairment": "loss", "rule": "2%", "since_ns": None, "realised_ratio": None}
    return Impairment(**(known | {"configured_ratio": None} | fields))


def test_no_packets_have_no_loss() -> None:
    assert judge.realised("a → b", impairment(packets=0, count=0, holds=True)) is None


@pytest.mark.parametrize(("holds", "expected"), [(True, "faithful"), (False, "invalid")])
@pytest.mark.parametrize("kind", ["loss", "duplication", "corruption", "reordering", "outage"])
def test_an_exact_rule_allows_no_other_packet(kind: str, holds: bool, expected: str) -> None:
    seen = impairment(
        impairment=kind, rule="every 10", packets=100, count=10, expected=10, holds=holds
    )
    found = judge.realised("a → b", seen)
    assert found is not None
    assert (found.check, found.status) == (f"realised {kind}", expected)
    assert ("not the same ones" in found.message) == (not holds)


def test_what_no_rule_asks_for_is_the_emulators_fault() -> None:
    seen = impairment(rule=NO_RULE, packets=100, count=1, expected=0, holds=False)
    found = judge.realised("a → b", seen)
    assert found is not None
    assert found.status == "invalid"
    assert found.message.endswith("1 of 100 packets were lost (1.000%); no rule asks for that")


def test_a_rule_that_nothing_can_be_said_of_is_not_checked() -> None:
    found = judge.realised("a → b", impairment(packets=5, count=1, holds=None, note="why"))
    assert found is not None
    assert found.status == "degraded"
    assert found.message == "not checked: a → b: 2%: why"


def test_of_several_periods_the_worst_speaks() -> None:
    near, far = (
        judge.relay_lateness("a → b", spread(late), 10**7, 0) for late in (10 * US, 700 * US)
    )
    assert judge.worst([near, far]) == [far]
    assert judge.worst([]) == []


@pytest.mark.parametrize(
    ("transit_ms", "expected"),
    [
        # 51 packets of 1514 bytes take 61.8 ms at 10 Mbit/s; 5 % more is allowed.
        pytest.param(61, "faithful", id="a full queue"),
        pytest.param(64, "faithful", id="within the slack"),
        pytest.param(66, "degraded", id="beyond it"),
        pytest.param(131, "invalid", id="twice as much"),
    ],
)
def test_drop_tail_bound(transit_ms: int, expected: str) -> None:
    found = judge.drop_tail("r1-server forward", spread(transit_ms * MS), 50, 10**7)
    assert found.status == expected
    assert ("hidden queue" in found.message) == (expected != "faithful")


@pytest.mark.parametrize(
    ("peak_mbit_s", "expected"),
    [
        # 10 Mbit/s, and 4542 bytes in 100 ms are 0.36 Mbit/s more; 5 % of slack make 10.88.
        pytest.param(10.3, "faithful", id="the capacity and a burst"),
        pytest.param(10.88, "faithful", id="the bound"),
        pytest.param(10.89, "degraded", id="more"),
        pytest.param(16.4, "invalid", id="half as much again"),
    ],
)
def test_capacity(peak_mbit_s: float, expected: str) -> None:
    found = judge.capacity("r1-server forward", peak_mbit_s * 1e6, 10**7, 100 * MS)
    assert (found.check, found.status) == ("capacity", expected)


def test_super_packets() -> None:
    assert judge.packet_sizes(1514, "r1-eth0").status == "faithful"
    found = judge.packet_sizes(2962, "r1-eth0")
    assert (found.status, found.message.endswith("super-packets at r1-eth0")) == ("invalid", True)


def test_how_the_run_ended() -> None:
    assert [r.status for r in judge.completeness("complete", "", [])] == ["faithful"]
    assert [r.status for r in judge.completeness("interrupted", "", [])] == ["degraded"]
    (failed,) = judge.completeness("failed", "it broke\nin many\nlines", [])
    assert (failed.status, failed.message) == ("invalid", "the run failed: it broke")
    cut = judge.completeness("complete", "", ["x.seg is cut", "y.seg is cut"])
    assert cut[1].message == "x.seg is cut (and 1 more)"
    assert cut[1].status == "invalid"


@pytest.mark.parametrize(
    ("ratios", "expected", "where"),
    [
        ({"p50": 0.01, "p90": 0.2, "p99": 0.1}, "faithful", "p90"),
        ({"p50": 0.21, "p90": 0.2, "p99": 0.1}, "degraded", "p50"),
        ({"p50": 0.01, "p90": 0.2, "p99": 0.51}, "invalid", "p99"),
    ],
)
def test_wake_ups(ratios: dict[str, float], expected: str, where: str) -> None:
    reason = machine.wake_ups(ratios)
    assert reason.status == expected
    assert f"at {where} " in reason.message


@pytest.mark.parametrize(
    ("waited", "expected"),
    [(0, "faithful"), (500, "faithful"), (501, "degraded"), (1001, "invalid")],
)
def test_cpu_wait(waited: int, expected: str) -> None:
    assert machine.cpu_wait(waited, 1000).status == expected


def test_a_time_is_spelled_as_in_the_reports() -> None:
    found = judge.relay_lateness("a → b", spread(1_211_200), 10_000_000, 0)
    assert "left 1.21 ms late at p99 (max 1.21 ms)" in found.message
