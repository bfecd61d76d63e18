"""Rule: ``in + duplicated == delivered + lost + dropped + overflow + held`` at every moment.

Whatever the rules of a wire are, and whenever packets come.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from testbed.network.relay.config import TraceConfig, VariationConfig, WireConfig
from testbed.network.relay.held import NEVER_NS, Held
from testbed.scenario.impairments import Bernoulli, Every, GilbertElliott, Listed, Outage, Reorder
from tests.builders.wires import FRAME, MS, due, everything, in_their_time, make_wire, numbers

RULES = st.fixed_dictionaries(
    {},
    optional={
        "loss": st.sampled_from(
            [Bernoulli(ratio=0.3), GilbertElliott(p=0.1, r=0.3), Every(n=3), Listed(numbers=(0, 4))]
        ),
        "duplicate": st.sampled_from([Bernoulli(ratio=0.3), Every(n=2)]),
        "corrupt": st.sampled_from([Bernoulli(ratio=0.3), Every(n=5)]),
        "reorder": st.builds(
            Reorder,
            pick=st.sampled_from([Bernoulli(ratio=0.3), Every(n=4)]),
            extent=st.integers(1, 5),
            within_ns=st.sampled_from([0, 5 * MS, 10**12]),
        ),
        "variation": st.builds(
            VariationConfig, spread_ns=st.sampled_from([0, 5 * MS]), overtaking=st.booleans()
        ),
        "outages": st.just((Outage(start_ns=20 * MS, duration_ns=10 * MS),)),
        "trace": st.just(TraceConfig(opportunities_ms=(2, 5, 7), queue_packets=4)),
    },
)


@given(
    rules=RULES,
    steps=st.lists(st.sampled_from(["arrive", "deliver", "overflow", "change"]), max_size=150),
    gaps=st.lists(st.integers(0, 3 * MS), min_size=150, max_size=150),
    later=RULES,
)
def test_no_packet_is_made_or_forgotten(
    rules: dict[str, Any], steps: list[str], gaps: list[int], later: dict[str, Any]
) -> None:
    wire = make_wire(**rules)
    now_ns = 0
    for step, gap in zip(steps, gaps, strict=False):
        now_ns += gap
        if step == "arrive":
            wire.arrive(FRAME, now_ns, 0)
        elif step == "change":
            wire.change(WireConfig(**later))
        elif wire.take_due(now_ns) is not None:
            if step == "deliver":
                wire.delivered += 1
            else:
                wire.overflowed += 1
        # Counted here once more, so that `check` is not its own witness.
        gone = wire.delivered + wire.lost + wire.dropped + wire.overflowed
        assert wire.arrived + wire.duplicated == gone + len(wire.held())
        wire.check()
    everything(wire)
    assert wire.held() == []
    assert wire.next_due_ns() == NEVER_NS


@given(rules=RULES, gaps=st.lists(st.integers(0, 5 * MS), max_size=100))
def test_no_packet_leaves_early_and_each_leaves_when_it_is_said_to(
    rules: dict[str, Any], gaps: list[int]
) -> None:
    wire = make_wire(**rules)
    now_ns = 0
    for gap in gaps:
        now_ns += gap
        assert wire.take_due(min(now_ns, wire.next_due_ns() - 1)) is None
        for packet in everything(wire, now_ns):
            assert packet[3] <= packet[0] <= now_ns
        wire.arrive(FRAME, now_ns, 0)


@given(rules=RULES, gaps=st.lists(st.integers(0, 5 * MS), max_size=100))
def test_packets_leave_in_the_order_they_came_unless_a_rule_says_otherwise(
    rules: dict[str, Any], gaps: list[int]
) -> None:
    rules.pop("reorder", None)
    if "variation" in rules:
        rules["variation"] = VariationConfig(spread_ns=5 * MS)
    wire = make_wire(**rules)
    left: list[Held] = []
    now_ns = 0
    for gap in gaps:
        now_ns += gap
        left += everything(wire, now_ns)
        wire.arrive(FRAME, now_ns, 0)
    left += everything(wire)
    assert numbers(left) == sorted(numbers(left))
    assert due(left) == sorted(due(left))


@given(
    gaps=st.lists(st.integers(0, 10**9), min_size=100, max_size=100),
    delay_ns=st.integers(0, 10**9),
    rules=RULES,
)
def test_timing_changes_no_fate(gaps: list[int], delay_ns: int, rules: dict[str, Any]) -> None:
    for by_time in ("outages", "trace"):
        rules.pop(by_time, None)
    wire, other = make_wire(**rules), make_wire(**{**rules, "delay_ns": delay_ns})
    now_ns = 0
    for gap in gaps:
        now_ns += gap
        one = wire.arrive(FRAME, 0, 0)
        two = other.arrive(FRAME, now_ns, 0)
        assert (one is None) == (two is None)
    for count in ("lost", "duplicated", "corrupted"):
        assert getattr(wire, count) == getattr(other, count)
    frames = [{packet[2]: packet[4] for packet in w.held()} for w in (wire, other)]
    assert frames[0] == frames[1]


@given(rules=RULES, late_by=st.lists(st.integers(0, 30 * MS), min_size=60, max_size=60))
def test_who_is_late_sees_the_same_packets_in_the_same_order(
    rules: dict[str, Any], late_by: list[int]
) -> None:
    punctual, late = make_wire(**rules), make_wire(**rules)
    left: list[Held] = []
    left_late: list[Held] = []
    for number, lateness_ns in enumerate(late_by):
        left += everything(punctual, number * MS)
        if lateness_ns < 3 * MS:  # it gets to it, now and then
            left_late += everything(late, number * MS)
        punctual.arrive(FRAME, number * MS, 0)
        late.arrive(FRAME, number * MS, 0)
    left += in_their_time(punctual)
    left_late += everything(late)
    assert left_late == left
