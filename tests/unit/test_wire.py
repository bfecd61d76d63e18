"""Rule: packets leave when they are due, and none overtakes another unless a rule says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.analysis.metrics import reordering
from testbed.events.link import COPY, CORRUPTED, GAVE_UP, OVERTAKEN, REASONS
from testbed.network.relay.config import VariationConfig, WireConfig
from testbed.network.relay.fates import Fates
from testbed.network.relay.wire import Wire
from testbed.scenario.impairments import Bernoulli, Every, Listed, Outage, Reorder, Segments
from tests.builders.wires import (
    FRAME,
    MS,
    due,
    everything,
    flags,
    in_their_time,
    make_wire,
    numbers,
    pass_through,
    segment,
)
from tests.support.intervals import binomial_interval


def test_a_plain_packet_is_held_for_the_delay() -> None:
    wire = make_wire()
    for number in range(23):
        assert wire.arrive(bytes([number]), 1000 + number, 0) is None
    held = wire.held()
    assert numbers(held) == list(range(23))
    assert due(held) == [1000 + number + 10 * MS for number in range(23)]
    assert [packet[4] for packet in held] == [bytes([number]) for number in range(23)]


def test_what_need_not_come_here_is_all_that_nothing_befalls() -> None:
    # `plain_until` lets the forwarder append by itself: it must stop at every special packet.
    rules = WireConfig(loss=Bernoulli(ratio=0.01), duplicate=Bernoulli(ratio=0.01))
    wire = Wire(seed=7, link="r1-server", direction="forward", config=rules)
    fates = Fates(seed=7, link="r1-server", direction="forward", wire=rules)
    special: list[int] = []
    came_here = []
    while wire.arrived < 10_000:
        if wire.arrived < wire.plain_until:
            wire.line.append((wire.arrived, 0, wire.arrived, wire.arrived, FRAME, 0, 0))
            wire.arrived += 1
            continue
        came_here.append(wire.arrived)
        wire.arrive(FRAME, wire.arrived, 0)
    while (block := fates.block()).first < 10_000:
        special += [number for number in block.specials if number < 10_000]
    edges = {0, *range(1024, 10_000, 1024)}
    # After an edge and after each special packet `arrive` looks again.
    assert set(special) <= set(came_here) <= {*special, *edges}
    wire.check()


def test_a_lost_packet_is_returned_with_its_reason() -> None:
    wire = make_wire(loss=Every(n=5))
    gone = [wire.arrive(FRAME, 1000 + number, 0) for number in range(23)]
    lost = [packet for packet in gone if packet is not None]
    assert [packet.number for packet in lost] == [4, 9, 14, 19]
    assert {(REASONS[packet.reason], packet.is_dropped) for packet in lost} == {("every", False)}
    assert lost[0].due_ns == 1004 + 10 * MS


def test_a_duplicated_packet_leaves_twice_at_once() -> None:
    left = pass_through(make_wire(duplicate=Listed(numbers=(3,))), 6)
    assert numbers(left) == [0, 1, 2, 3, 3, 4, 5]
    assert flags(left) == [0, 0, 0, 0, COPY, 0, 0]
    assert left[3][0] == left[4][0]
    assert left[3][4] == left[4][4]


def test_a_corrupted_packet_differs_in_one_bit() -> None:
    left = pass_through(make_wire(corrupt=Listed(numbers=(3,))), 6)
    *_, frame, flag, _ = left[3]
    assert flag == CORRUPTED
    assert sum((a ^ b).bit_count() for a, b in zip(frame, FRAME, strict=True)) == 1
    assert [packet[4] for packet in left if packet[2] != 3] == [FRAME] * 5


def test_a_copy_of_a_corrupted_packet_is_as_corrupted() -> None:
    left = pass_through(make_wire(corrupt=Every(n=1), duplicate=Every(n=1)), 1)
    assert flags(left) == [CORRUPTED, CORRUPTED | COPY]
    assert left[0][4] == left[1][4]


@pytest.mark.parametrize("extent", [1, 2, 3, 7])
def test_a_reordered_packet_is_overtaken_by_so_many(extent: int) -> None:
    left = pass_through(make_wire(reorder=Reorder(pick=Listed(numbers=(5,)), extent=extent)), 20)
    order = np.array(numbers(left))
    assert np.flatnonzero(order == 5).tolist() == [5 + extent]
    assert reordering.extents(order).tolist() == [extent]
    assert flags(left)[5 + extent] == OVERTAKEN
    # It leaves right after the last one that overtook it.
    assert left[5 + extent][0] == left[5 + extent - 1][0]


def test_an_exact_pattern_of_reordering() -> None:
    reorder = Reorder(pick=Listed(numbers=(1, 5, 6)), extents=(2, 1, 3))
    left = pass_through(make_wire(reorder=reorder), 12)
    assert numbers(left) == [0, 2, 3, 1, 4, 7, 5, 8, 6, 9, 10, 11]


def test_reordering_by_a_ratio_is_that_ratio_by_rfc_4737() -> None:
    packets = 100_000
    wire = make_wire(reorder=Reorder(pick=Bernoulli(ratio=0.01), extent=3))
    order = np.array(numbers(pass_through(wire, packets)))
    low, high = binomial_interval(packets, 0.01, 0.999)
    count = int(reordering.reordered(order).sum())
    assert low <= count <= high
    assert count == wire.counts().reordered
    # One more where the turn of two came at once: 1 % of them have such a neighbour.
    extents = reordering.extents(order).tolist()
    assert set(extents) <= {3, 4}
    assert extents.count(3) > 0.98 * count


def test_a_packet_that_nothing_overtakes_leaves_when_its_time_is_up() -> None:
    reorder = Reorder(pick=Listed(numbers=(2,)), extent=3, within_ns=40 * MS)
    wire = make_wire(reorder=reorder)
    left = pass_through(wire, 4)  # one comes after it, then nothing
    assert numbers(left) == [0, 1, 3, 2]
    assert flags(left)[-1] == OVERTAKEN | GAVE_UP
    assert left[-1][0] == 2 * MS + 10 * MS + 40 * MS
    alone = make_wire(reorder=Reorder(pick=Listed(numbers=(0,)), within_ns=40 * MS))
    (packet,) = pass_through(alone, 1)
    assert (packet[0], packet[5]) == (50 * MS, GAVE_UP)
    assert alone.counts().reordered == 0


def test_whose_time_is_up_first_leaves_first_also_after_a_stall() -> None:
    reorder = Reorder(pick=Listed(numbers=(0, 1)), extents=(100, 1), within_ns=20 * MS)
    punctual, late = make_wire(reorder=reorder), make_wire(reorder=reorder)
    for wire in (punctual, late):
        for number in range(3):
            wire.arrive(FRAME, number * MS, 0)
    assert numbers(in_their_time(punctual)) == numbers(everything(late)) == [2, 1, 0]


def test_what_fewer_overtook_than_were_to_says_so() -> None:
    wire = make_wire(reorder=Reorder(pick=Listed(numbers=(0,)), extent=5))
    left = pass_through(wire, 3)
    assert numbers(left) == [1, 2, 0]
    assert flags(left)[-1] == OVERTAKEN | GAVE_UP


def test_rules_that_keep_the_order_keep_it_also_after_those_that_did_not() -> None:
    wire = make_wire(variation=VariationConfig(spread_ns=MS, overtaking=True))
    wire.arrive(FRAME, 0, 0)
    wire.change(WireConfig(delay_ns=MS))
    for now_ns in (1 * MS, 2 * MS, 30 * MS):
        wire.arrive(FRAME, now_ns, 0)
    left = everything(wire)
    assert numbers(left) == [0, 1, 2, 3]
    assert due(left)[-1] == 31 * MS


def test_the_copy_of_a_reordered_packet_stays_with_it() -> None:
    rules: dict[str, Any] = {
        "reorder": Reorder(pick=Listed(numbers=(1,)), extent=2),
        "duplicate": Listed(numbers=(1, 2)),
    }
    left = pass_through(make_wire(**rules), 6)
    assert numbers(left) == [0, 2, 2, 3, 1, 1, 4, 5]  # the copy of 2 overtakes nobody


def test_variation_without_overtaking_keeps_the_order() -> None:
    left = pass_through(make_wire(variation=VariationConfig(spread_ns=5 * MS)), 2000)
    assert numbers(left) == list(range(2000))
    delays = [packet[0] - packet[3] for packet in left]
    assert len(set(delays)) > 1000
    assert 5 * MS <= min(delays) < max(delays) < 15 * MS


def test_variation_with_overtaking_does_not() -> None:
    variation = VariationConfig(spread_ns=5 * MS, overtaking=True)
    left = pass_through(make_wire(variation=variation), 2000)
    assert sorted(numbers(left)) == list(range(2000))
    assert due(left) == sorted(due(left))
    assert reordering.reordered(np.array(numbers(left))).any()


def test_a_delay_is_never_negative() -> None:
    wire = make_wire(delay_ns=MS, variation=VariationConfig(spread_ns=5 * MS, overtaking=True))
    left = pass_through(wire, 1000)
    delays = [packet[0] - packet[3] for packet in left]
    assert min(delays) == 0
    low, high = binomial_interval(1000, 0.4, 0.999)  # below -1 ms of -5 to 5 ms
    assert low <= delays.count(0) <= high


def test_an_outage_loses_what_comes_in_it() -> None:
    outages = (Outage(start_ns=3 * MS, duration_ns=2 * MS), Outage(start_ns=9 * MS, duration_ns=1))
    wire = make_wire(outages=outages)
    assert wire.arrive(FRAME, 3 * MS, 0) is None  # the load has not begun
    wire.start(100 * MS)
    gone = [wire.arrive(FRAME, 100 * MS + number * MS, 0) for number in range(12)]
    lost = [packet for packet in gone if packet is not None]
    assert [packet.number for packet in lost] == [4, 5, 10]
    assert {REASONS[packet.reason] for packet in lost} == {"outage"}


def test_the_nth_data_segments_of_each_flow_are_lost() -> None:
    wire = make_wire(loss=Segments(ordinals=(2, 3)))
    lost = []
    for port in (40000, 40001):
        lost += [wire.arrive(segment(port), 0, 0)]  # a pure ACK is no data segment
        lost += [wire.arrive(segment(port, payload=b"x" * 100), 0, 0) for _ in range(5)]
    assert [packet is not None for packet in lost] == [False, False, True, True, False, False] * 2
    assert {REASONS[packet.reason] for packet in lost if packet} == {"segments"}


def test_a_change_holds_from_the_next_packet_on() -> None:
    wire = make_wire(loss=Every(n=2))
    for number in range(4):
        wire.arrive(FRAME, number, 0)
    wire.change(WireConfig(delay_ns=20 * MS, loss=Every(n=5)))
    for number in range(4, 12):
        wire.arrive(FRAME, number, 0)
    assert numbers(wire.held()) == [0, 2, 5, 6, 7, 8, 10, 11]
    assert [packet[0] - packet[3] for packet in wire.held()] == [10 * MS] * 2 + [20 * MS] * 6


def test_a_shorter_delay_lets_nothing_overtake() -> None:
    wire = make_wire()
    wire.arrive(FRAME, 0, 0)
    wire.change(WireConfig(delay_ns=1 * MS))
    for now_ns in (1 * MS, 8 * MS, 12 * MS):
        wire.arrive(FRAME, now_ns, 0)
    assert due(wire.held()) == [10 * MS, 10 * MS, 10 * MS, 13 * MS]


def test_a_packet_that_nobody_accounts_for_is_an_error_with_the_counts() -> None:
    wire = make_wire()
    wire.arrive(FRAME, 0, 0)
    wire.line.clear()
    with pytest.raises(AssertionError, match="1 packets came or were made, 0 went"):
        wire.check()
