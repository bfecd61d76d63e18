"""Rule: ``in == delivered + lost + overflow + held`` at every moment, and a packet's fate depends
on its number alone.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.network.relay.wire import Wire

MS = 1_000_000


def make_wire(*, seed: int = 7, delay_ns: int = 10 * MS, loss_ratio: float = 0.3) -> Wire:
    return Wire(
        seed=seed, link="r1-server", direction="forward", delay_ns=delay_ns, loss_ratio=loss_ratio
    )


def assert_balanced(wire: Wire) -> None:
    # Counted here once more, so that `check` is not its own witness.
    held = len(wire.held)
    assert wire.arrived == wire.delivered + wire.lost + wire.overflowed + held
    wire.check()


@given(
    steps=st.lists(st.sampled_from(["arrive", "deliver", "overflow"]), max_size=200),
    seed=st.integers(0, 2**63 - 1),
    loss_ratio=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_no_packet_is_made_or_forgotten(steps: list[str], seed: int, loss_ratio: float) -> None:
    wire = make_wire(seed=seed, loss_ratio=loss_ratio)
    assert_balanced(wire)
    for now_ns, step in enumerate(steps):
        if step == "arrive":
            wire.arrive(b"frame", now_ns, 0)
        elif wire.held:
            wire.held.popleft()
            if step == "deliver":
                wire.delivered += 1
            else:
                wire.overflowed += 1
        assert_balanced(wire)


def test_a_packet_is_either_lost_or_held_until_it_is_due() -> None:
    wire = make_wire()
    lost = [wire.arrive(bytes([n]), 1000 + n, 77) for n in range(23)]
    expected = [number for number in range(23) if wire.is_lost(number)]
    assert [packet.number for packet in lost if packet is not None] == expected
    assert [packet.number for packet in wire.held] == sorted(set(range(23)) - set(expected))
    for packet in wire.held:
        assert packet.due_ns == packet.arrival_ns + 10 * MS
        assert (packet.arrival_ns, packet.frame) == (1000 + packet.number, bytes([packet.number]))
        assert (packet.size_bytes, packet.digest) == (1, 77)


@given(
    gaps=st.lists(st.integers(0, 10**9), min_size=100, max_size=100),
    delay_ns=st.integers(0, 10**9),
)
def test_timing_changes_no_fate(gaps: list[int], delay_ns: int) -> None:
    wire, other = make_wire(), make_wire(delay_ns=delay_ns)
    now_ns = 0
    for gap in gaps:
        now_ns += gap
        one = wire.arrive(b"", 0, 0)
        two = other.arrive(b"", now_ns, 0)
        assert (one is None) == (two is None)


@given(arrivals=st.lists(st.integers(0, 10**9), max_size=100).map(sorted))
def test_packets_depart_in_the_order_they_came(arrivals: list[int]) -> None:
    wire = make_wire(loss_ratio=0.0)
    for arrival_ns in arrivals:
        wire.arrive(b"", arrival_ns, 0)
    assert [packet.number for packet in wire.held] == list(range(len(arrivals)))
    due = [packet.due_ns for packet in wire.held]
    assert due == sorted(due)


def test_a_packet_that_nobody_accounts_for_is_an_error_with_the_counts() -> None:
    wire = make_wire(loss_ratio=0.0)
    wire.arrive(b"", 0, 0)
    wire.held.clear()
    with pytest.raises(AssertionError, match="1 packets arrived, but 0 delivered"):
        wire.check()
