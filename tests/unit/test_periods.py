"""Settings over time: which ones a packet met."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np

from testbed.analysis.periods import UNSURE, Periods, periods_of
from testbed.analysis.topology import Topology, Way
from testbed.recording.manifest import AppliedChange
from testbed.scenario.impairments import Bernoulli, Reorder, Variation
from tests.builders.recordings import MS, Run

CAPACITY = 10_000_000


def periods(wire: Literal["relay", "kernel"], *changes: tuple[int, dict[str, Any]]) -> Periods:
    """Of r1-server forward, each change taking 5 ns."""
    run = Run(wire=wire, capacity_bit_s=CAPACITY)
    way = ("r1-server", "forward")
    run.changes = [
        AppliedChange(
            at_ns=at,
            done_ns=at + 5,
            link=way[0],
            direction="forward",
            text="",
            source="python",
            settings=run.direction(way, **settings),
        )
        for at, settings in changes
    ]
    manifest = run.manifest(0)
    (mine,) = [w for w in Topology(manifest).ways if (w.link.name, w.name) == way]
    return periods_of(manifest, mine)


def at(found: Periods, *t_ns: int) -> list[int]:
    places: list[int] = found.at(np.array(t_ns, np.int64)).tolist()
    return places


def test_what_never_changes_has_one_period() -> None:
    found = periods("relay")
    assert at(found, -(10**18), 0, 10**18) == [0, 0, 0]
    assert found.highest_capacity_bit_s == CAPACITY


def test_a_relay_takes_a_change_with_the_packet_that_comes_then() -> None:
    found = periods("relay", (200, {"delay_ns": 2}), (100, {"delay_ns": 1}))
    assert at(found, 99, 100, 103, 199, 200) == [0, 1, 1, 1, 2]
    assert [one.delay_ns for one in found.settings] == [MS, 1, 2]


def test_while_tc_is_at_it_nothing_is_sure() -> None:
    found = periods("kernel", (100, {"delay_ns": 1}))
    assert at(found, 99, 100, 104, 105) == [0, UNSURE, UNSURE, 1]
    assert found.during(np.array([99, 100, 105], np.int64)).tolist() == [0, 1, 1]


def test_changes_of_other_directions_are_none_of_this_one() -> None:
    run = Run()
    way = Topology(run.manifest(0)).ways[0]
    other = AppliedChange(
        at_ns=1,
        done_ns=1,
        link=way.link.name,
        direction="reverse",
        text="",
        source="python",
        settings=way.link.reverse,
    )
    manifest = msgspec.structs.replace(run.manifest(0), changes=[other])
    assert len(periods_of(manifest, Way(way.link, "forward", way.settings)).periods) == 1


def test_the_longest_delay_is_that_of_any_period() -> None:
    varied = {
        "delay_ns": 3 * MS,
        "delay_variation": Variation(spread_ns=MS),
        "reorder": Reorder(pick=Bernoulli(ratio=0.1), within_ns=50 * MS),
    }
    assert periods("relay", (1, varied), (2, {})).longest_delay_ns == 57 * MS


def test_the_highest_capacity_counts() -> None:
    assert periods("relay", (1, {"capacity_bit_s": 2})).highest_capacity_bit_s == CAPACITY


def test_what_came_belongs_to_the_period_whose_delay_leads_back_into_it() -> None:
    found = periods("relay", (100 * MS, {"delay_ns": 10 * MS}), (200 * MS, {"delay_ns": 2 * MS}))
    came = np.array([100 * MS, 101 * MS - 1, 105 * MS, 110 * MS, 201 * MS, 205 * MS, 211 * MS])
    # From 202 ms on what was sent before and after the second change comes at once.
    assert found.at_arrival(came).tolist() == [0, 0, UNSURE, 1, 1, UNSURE, 2]
