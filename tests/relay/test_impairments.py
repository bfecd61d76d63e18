"""Rule: what the rules say is what comes out of the other device, and what the log says.

Each test is a relay process between two real TAP devices in a sandbox of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from testbed.analysis.metrics import reordering
from testbed.events.link import COPY, CORRUPTED, GAVE_UP, OVERTAKEN
from testbed.network.relay.config import (
    RelayOrder,
    TraceConfig,
    VariationConfig,
    WireChange,
    WireConfig,
)
from testbed.network.relay.distributions import named_table
from testbed.network.relay.fates import Fates
from testbed.scenario.impairments import (
    Bernoulli,
    Every,
    FourState,
    GilbertElliott,
    Listed,
    Outage,
    Reorder,
)
from tests.support.relay_bench import Outcome, run_lab
from tests.support.relay_log import numbers

MS: Final = 1_000_000
FRAMES: Final = 211


def run(tmp_path: Path, wire: WireConfig, expected: int, **options: Any) -> Outcome:
    options = {"sizes": {"a": [100] * FRAMES}, **options}
    return run_lab(tmp_path, forward=wire, expected={"b": expected}, **options)


def arrived(outcome: Outcome) -> list[int]:
    return [arrival.number for arrival in outcome.seen.arrivals["b"]]


def specials(wire: WireConfig, packets: int = FRAMES) -> dict[int, Any]:
    """What the rule says, without a relay."""
    block = Fates(seed=7, link="a-b", direction="forward", wire=wire).block()
    return {number: special for number, special in block.specials.items() if number < packets}


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        pytest.param(
            WireConfig(loss=GilbertElliott(p=0.1, r=0.3)), "gilbert_elliott", id="Gilbert-Elliott"
        ),
        pytest.param(
            WireConfig(loss=FourState(p13=0.1, p31=0.3, p14=0.05)), "four_state", id="four states"
        ),
        pytest.param(WireConfig(loss=Every(n=23)), "every", id="every 23rd"),
        pytest.param(WireConfig(loss=Listed(numbers=(3, 7, 9, 10))), "listed", id="a list"),
    ],
)
def test_each_rule_of_loss(tmp_path: Path, wire: WireConfig, reason: str) -> None:
    lost = list(specials(wire))
    assert lost
    outcome = run(tmp_path, wire, FRAMES - len(lost))
    assert numbers(outcome.forward, "lost") == lost
    assert {packet.reason for packet in outcome.forward if packet.fate == "lost"} == {reason}
    assert arrived(outcome) == sorted(set(range(FRAMES)) - set(lost))


def test_23_duplicates(tmp_path: Path) -> None:
    picked = tuple(range(0, 207, 9))
    assert len(picked) == 23
    wire = WireConfig(duplicate=Listed(numbers=picked), delay_ns=5 * MS)
    outcome = run(tmp_path, wire, FRAMES + 23)
    assert arrived(outcome) == sorted([*range(FRAMES), *picked])
    copies = [packet for packet in outcome.forward if packet.flags & COPY]
    assert [packet.number for packet in copies] == list(picked)
    counts = outcome.seen.counts["forward"]
    assert (counts.arrived, counts.duplicated, counts.delivered) == (FRAMES, 23, FRAMES + 23)


def test_23_flipped_bits(tmp_path: Path) -> None:
    picked = tuple(range(0, 207, 9))
    outcome = run(tmp_path, WireConfig(corrupt=Listed(numbers=picked)), FRAMES)
    corrupted = [packet for packet in outcome.forward if packet.flags & CORRUPTED]
    assert [packet.number for packet in corrupted] == list(picked)
    # Frames of 100 bytes: the digest covers all of them, so every flip shows in it.
    assert all(packet.digest != packet.sent_digest for packet in corrupted)
    others = [packet for packet in outcome.forward if not packet.flags & CORRUPTED]
    assert all(packet.digest == packet.sent_digest for packet in others)
    assert outcome.seen.counts["forward"].corrupted == 23


def test_23_overtaken_frames(tmp_path: Path) -> None:
    picked = tuple(range(0, 207, 9))
    wire = WireConfig(reorder=Reorder(pick=Listed(numbers=picked), extent=3), delay_ns=5 * MS)
    outcome = run(tmp_path, wire, FRAMES)
    order = np.array(arrived(outcome))
    assert sorted(order.tolist()) == list(range(FRAMES))
    late = order[reordering.reordered(order)]
    assert late.tolist() == list(picked)
    assert set(reordering.extents(order).tolist()) == {3}
    in_log = [packet.number for packet in outcome.forward if packet.flags & OVERTAKEN]
    assert in_log == list(picked)
    # The log's order of departure is the order of arrival at the other end.
    by_departure = sorted(outcome.forward, key=lambda packet: packet.departure_ns)
    assert [packet.number for packet in by_departure] == order.tolist()


def test_a_frame_that_nothing_overtakes_comes_in_the_end(tmp_path: Path) -> None:
    reorder = Reorder(pick=Listed(numbers=(FRAMES - 1,)), within_ns=20 * MS)
    outcome = run(tmp_path, WireConfig(reorder=reorder), FRAMES)
    assert arrived(outcome) == list(range(FRAMES))
    last = outcome.forward[-1]
    assert last.flags == GAVE_UP
    assert last.due_ns == last.arrival_ns + 20 * MS
    assert outcome.seen.counts["forward"].reordered == 0


@pytest.mark.parametrize("overtaking", [False, True])
def test_delay_variation(tmp_path: Path, overtaking: bool) -> None:
    table = tuple(named_table("normal").tolist())
    variation = VariationConfig(spread_ns=2 * MS, table=table, overtaking=overtaking)
    outcome = run(tmp_path, WireConfig(delay_ns=20 * MS, variation=variation), FRAMES)
    assert sorted(arrived(outcome)) == list(range(FRAMES))
    assert (arrived(outcome) == list(range(FRAMES))) is not overtaking
    assert all(packet.departure_ns >= packet.due_ns for packet in outcome.forward)
    delays = [packet.due_ns - packet.arrival_ns for packet in outcome.forward]
    assert len(set(delays)) > FRAMES // 2


def test_all_at_once(tmp_path: Path) -> None:
    wire = WireConfig(
        delay_ns=5 * MS,
        variation=VariationConfig(spread_ns=2 * MS, overtaking=True),
        loss=Bernoulli(ratio=0.1),
        duplicate=Bernoulli(ratio=0.1),
        corrupt=Bernoulli(ratio=0.1),
        reorder=Reorder(pick=Bernoulli(ratio=0.1)),
    )
    fates = specials(wire)
    lost = [number for number, special in fates.items() if special.lost]
    copied = [number for number, special in fates.items() if special.copied]
    outcome = run(tmp_path, wire, FRAMES - len(lost) + len(copied))
    assert numbers(outcome.forward, "lost") == lost
    assert [p.number for p in outcome.forward if p.flags & COPY] == copied
    counts = outcome.seen.counts["forward"]
    assert counts.arrived + counts.duplicated == counts.delivered + counts.lost
    assert len(outcome.forward) == FRAMES + len(copied)


def test_a_capacity_by_a_trace_and_its_queue(tmp_path: Path) -> None:
    # An opportunity each 20 ms: of 23 full frames at once, 10 wait and the rest is dropped.
    trace = TraceConfig(opportunities_ms=(20,), queue_packets=10)
    wire = WireConfig(trace=trace)
    outcome = run(tmp_path, wire, 10, sizes={"a": [1514] * 23})
    dropped = [packet for packet in outcome.forward if packet.fate == "dropped"]
    assert {packet.reason for packet in dropped} == {"queue_full"}
    assert outcome.seen.counts["forward"].dropped == len(dropped) == 13
    due = [packet.due_ns for packet in outcome.forward if packet.fate == "delivered"]
    assert set(np.diff(due).tolist()) == {20 * MS}


def test_a_change_meanwhile_holds_from_the_next_frame(tmp_path: Path) -> None:
    later = WireConfig(delay_ns=30 * MS, loss=Every(n=1))
    change = WireChange(link="a-b", direction="forward", at_ns=0, wire=later)
    outcome = run(
        tmp_path,
        WireConfig(delay_ns=10 * MS, duplicate=Every(n=100)),
        100 + 1,
        order=RelayOrder(changes=[change]),
        order_after=100,
    )
    assert numbers(outcome.forward, "lost") == list(range(100, FRAMES))
    assert arrived(outcome) == [*range(100), 99]  # what was on the wire still came


def test_outages_begin_with_the_load(tmp_path: Path) -> None:
    # Before the load starts there is none. It then starts in the past: the outage is on.
    uptime_and_more = Outage(start_ns=0, duration_ns=2**62)
    outcome = run(
        tmp_path,
        WireConfig(outages=(uptime_and_more,)),
        100,
        order=RelayOrder(start_ns=1),
        order_after=100,
    )
    assert numbers(outcome.forward, "lost") == list(range(100, FRAMES))
    assert {packet.reason for packet in outcome.forward[100:]} == {"outage"}
    assert arrived(outcome) == list(range(100))


def test_what_the_ring_could_not_take_is_counted(tmp_path: Path) -> None:
    # A ring of 10 frames, and a relay that sleeps while 100 come.
    outcome = run(
        tmp_path, WireConfig(), 0, sizes={"a": [100] * 100}, ring_frames=10, relay_sleeps=True
    )
    counts = outcome.seen.counts["forward"]
    assert counts.ring_dropped >= 89
    assert counts.arrived + counts.ring_dropped == 100
    assert outcome.seen.counts["reverse"].ring_dropped == 0
