"""Rule: each direction of a link has the settings that win, and what a backend cannot do, or what
a change would lose, is refused with its place.
"""

from __future__ import annotations

from typing import Any

import pytest

from testbed.errors import EXIT_WRONG_REQUEST, ScenarioError
from testbed.network.topology import Topo
from testbed.scenario import Link
from testbed.scenario.model import Way
from tests.unit.plans import MS, plan_of, planned, problems_of, through_router


def marked(topo: Topo) -> None:
    through_router(topo, bottleneck="forward", capacity="10mbit", delay="10ms")


def test_each_direction_by_its_name() -> None:
    link = Link(loss="1%", forward=Way(delay="30ms"), reverse=Way(delay="40ms"))
    found = plan_of(marked, link=link).links[1]
    forward, reverse = found.forward, found.reverse
    assert (forward.delay_ns, forward.loss_ratio) == (30 * MS, 0.01)
    # Only the forward direction is marked: the reverse one keeps the topology's own values.
    assert (reverse.delay_ns, reverse.loss_ratio) == (10 * MS, 0.0)
    named = plan_of(marked, links={"r-b": link}).links[1]
    assert (named.forward.delay_ns, named.reverse.delay_ns) == (30 * MS, 40 * MS)
    assert named.forward.loss_ratio == named.reverse.loss_ratio == 0.01


def test_a_direction_wins_over_both_in_each_place() -> None:
    def build(topo: Topo) -> None:
        through_router(topo, bottleneck=True, loss="1%", forward={"loss": "2%"})

    link = plan_of(build).links[1]
    assert (link.forward.loss_ratio, link.reverse.loss_ratio) == (0.02, 0.01)
    # What the scenario says of both is over what the topology says of one.
    link = plan_of(build, link=Link(loss="3%")).links[1]
    assert (link.forward.loss_ratio, link.reverse.loss_ratio) == (0.03, 0.03)
    # And what it says of one link's both directions over what it says of one of the marked.
    link = plan_of(build, link=Link(forward=Way(loss="4%")), links={"r-b": Link(loss="5%")}).links[
        1
    ]
    assert (link.forward.loss_ratio, link.reverse.loss_ratio) == (0.05, 0.05)


def test_a_schedule_is_by_time_and_each_change_has_all_that_holds_from_then_on() -> None:
    link = Link(
        forward=Way(schedule=("at 2s: loss 2%", "at 5s: capacity 2mbit, delay 5ms")),
        reverse=Way(schedule=("at 3s: delay 7ms",)),
    )
    found = plan_of(marked, links={"r-b": link}).links[1].schedule
    assert [(c.at_ns // 10**9, c.direction, c.text) for c in found] == [
        (2, "forward", "loss 2%"),
        (3, "reverse", "delay 7ms"),
        (5, "forward", "capacity 2mbit, delay 5ms"),
    ]
    last = found[2].settings
    assert (last.capacity_bit_s, last.delay_ns, last.loss_ratio) == (2_000_000, 5 * MS, 0.02)
    assert found[0].settings.capacity_bit_s == 10_000_000


def test_what_only_a_change_needs_gives_the_link_a_wire() -> None:
    def build(topo: Topo) -> None:
        through_router(topo, capacity="10mbit", schedule=["at 1s: loss 1%"])

    assert plan_of(build).links[1].wire == "relay"
    assert plan_of(lambda t: through_router(t, capacity="10mbit")).links[1].wire == "direct"
    assert plan_of(lambda t: through_router(t, capacity="trace steady_12mbit")).links[1].wire == (
        "relay"
    )


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        (
            "at 1s: capacity trace steady_12mbit",
            "link r-b.forward: at 1s: capacity: a trace can be neither begun nor left while the "
            "load runs",
        ),
        (
            "at 1s: queue codel",
            "link r-b.forward: at 1s: queue: the discipline cannot change while the load runs: "
            "packets in the queue would be lost (it is pfifo, got codel)",
        ),
        (
            "at 1s:capacity trace steady_12mbit",
            "link r-b.forward: at 1s: capacity: a trace can be neither begun nor left",
        ),
        ("at 1s: queue 64kB", "(it is pfifo, got bfifo)"),
    ],
)
def test_a_change_that_would_lose_packets_is_refused(schedule: str, problem: str) -> None:
    (found,) = problems_of(marked, link=Link(schedule=(schedule,)))
    assert problem in found


def test_a_direction_without_a_capacity_cannot_get_one_later() -> None:
    (found,) = problems_of(
        through_router, links={"r-b": Link(forward=Way(schedule=("at 1s: capacity 1mbit",)))}
    )
    assert found.startswith("link r-b.forward: at 1s: capacity: this direction has none to change")


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("capacity", "trace steady_12mbit"),
        ("loss", "every 23"),
        ("loss", "packets 3,7"),
        ("loss", "segments 5"),
        ("duplicate", "every 9"),
        ("corrupt", "packets 1"),
        ("reorder", "1%"),
        ("outage", "at 1s for 1s"),
    ],
)
def test_what_netem_cannot_do_is_refused_with_its_place(setting: str, text: str) -> None:
    given: dict[str, Any] = {setting: text}
    with pytest.raises(ScenarioError) as caught:
        planned("kernel", marked, link=Link(**given))
    (problem,) = caught.value.problems
    assert caught.value.exit_code == EXIT_WRONG_REQUEST
    assert problem.where == f"link r-b: {setting}"
    assert problem.message.startswith("the kernel backend cannot do it: ")
    assert planned("relay", marked, link=Link(**given)).links[1].wire == "relay"


def test_what_netem_cannot_do_is_refused_in_a_schedule_too() -> None:
    if_later = Link(schedule=("at 1s: loss every 23, reorder 1%",))
    with pytest.raises(ScenarioError) as caught:
        planned("kernel", marked, link=if_later)
    assert [problem.where for problem in caught.value.problems] == [
        "link r-b: loss", "link r-b: reorder",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "1%"},
        {"loss": "gilbert-elliott p 1% r 25%"},
        {"loss": "markov p13 1% p31 20%"},
        {"duplicate": "1%"},
        {"corrupt": "1%"},
        {"delay_variation": "1ms normal overtaking"},
        {"queue": "codel 100p ecn"},
        {"schedule": ("at 1s: loss 1%",)},
    ],
    ids=str,
)
def test_what_netem_can_do_is_planned(settings: dict[str, Any]) -> None:
    assert planned("kernel", marked, link=Link(**settings)).links[1].wire == "kernel"


def test_a_variation_beyond_the_delay_is_warned_of() -> None:
    warning = plan_of(marked, link=Link(delay_variation="20ms")).warnings[0]
    assert warning.startswith("link r-b.forward: 25.0% of the packets would leave before they came")
    later = plan_of(marked, link=Link(schedule=("at 3s: delay_variation 20ms",))).warnings
    assert later[0].startswith("link r-b.forward: at 3s: 25.0% of the packets")


def test_a_trace_needs_a_drop_tail_queue() -> None:
    (found,) = problems_of(marked, link=Link(capacity="trace steady_12mbit", queue="codel"))
    assert found == (
        "link r-b.forward: queue: a capacity by a trace has a drop-tail queue, such as 50p "
        "(got codel)"
    )


@pytest.mark.parametrize(
    "value",
    ["loss 2%, delay 5ms", {"loss": "2%", "delay": "5ms"}, Way(loss="2%", delay="5ms")],
    ids=["text", "table", "Way"],
)
def test_a_topo_may_say_a_direction_in_any_form(value: Any) -> None:
    way = plan_of(lambda topo: through_router(topo, forward=value)).links[1].forward
    assert (way.loss_ratio, way.delay_ns) == (0.02, 5 * MS)
