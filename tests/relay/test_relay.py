"""Rule: every frame that a device hands over has exactly one fate, decided by seed and number, is
held for the delay, never overtaken, and logged.

Each test is a relay process between two real TAP devices in a sandbox of its own.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from testbed.network.relay.config import WireConfig, WireCounts
from testbed.network.relay.fates import Fates
from testbed.scenario.impairments import Bernoulli
from tests.support.relay_bench import Outcome, run_lab
from tests.support.relay_log import numbers

MS = 1_000_000
FRAMES = 23
"""A prime number: no count of another thing happens to equal it."""
SIZES = [60 + 61 * (n % 23) for n in range(FRAMES)]
"""60 (the smallest Ethernet frame) to 1402 bytes, all different."""
LATE_NS = 50 * MS
"""How late half of the frames may be at most: 0.1 ms on an idle machine. Other work may hold the
two CPUs for tens of milliseconds; half of the frames later than that would be an error.
"""


def wire(delay_ns: int = 0, loss_ratio: float = 0.0) -> WireConfig:
    return WireConfig(delay_ns=delay_ns, loss=Bernoulli(ratio=loss_ratio))


def lost_by(seed: int, direction: str, loss_ratio: float, count: int) -> list[int]:
    """What the rule says, without a relay: the numbers of the packets that are lost."""
    fates = Fates(seed=seed, link="a-b", direction=direction, wire=wire(loss_ratio=loss_ratio))
    lost: list[int] = []
    while (block := fates.block()).first < count:
        lost += block.specials
    return [number for number in lost if number < count]


def arrived(outcome: Outcome, node: str) -> list[int]:
    return [arrival.number for arrival in outcome.seen.arrivals[node]]


def test_all_frames_pass_unchanged_in_order(tmp_path: Path) -> None:
    outcome = run_lab(tmp_path, sizes={"a": SIZES}, expected={"b": FRAMES})
    assert arrived(outcome, "b") == list(range(FRAMES))
    assert [arrival.size_bytes for arrival in outcome.seen.arrivals["b"]] == SIZES
    assert arrived(outcome, "a") == []
    # Nothing but our frames was on the wire: no router solicitation, no ARP.
    assert outcome.seen.counts["forward"] == WireCounts(
        arrived=FRAMES, delivered=FRAMES, lost=0, overflowed=0, held=0
    )
    assert outcome.seen.counts["reverse"] == WireCounts(
        arrived=0, delivered=0, lost=0, overflowed=0, held=0
    )


def test_the_log_has_each_frame_once_with_its_size_and_times(tmp_path: Path) -> None:
    outcome = run_lab(
        tmp_path, sizes={"a": SIZES}, expected={"b": FRAMES}, forward=wire(delay_ns=5 * MS)
    )
    log = outcome.forward
    assert [packet.number for packet in log] == list(range(FRAMES))
    assert [packet.size_bytes for packet in log] == SIZES
    assert len({packet.digest for packet in log}) == FRAMES
    assert {(packet.fate, packet.reason) for packet in log} == {("delivered", "")}
    for packet in log:
        assert packet.due_ns == packet.arrival_ns + 5 * MS
        assert packet.departure_ns >= packet.due_ns
    assert outcome.reverse == []


def test_the_fates_are_those_of_the_seed(tmp_path: Path) -> None:
    lost = lost_by(7, "forward", 0.3, FRAMES)
    assert lost, "the seed must lose something for this test to say anything"
    outcome = run_lab(
        tmp_path,
        sizes={"a": SIZES},
        expected={"b": FRAMES - len(lost)},
        forward=wire(loss_ratio=0.3),
    )
    assert numbers(outcome.forward, "lost") == lost
    assert {p.reason for p in outcome.forward if p.fate == "lost"} == {"bernoulli"}
    assert {p.departure_ns for p in outcome.forward if p.fate == "lost"} == {0}
    assert arrived(outcome, "b") == sorted(set(range(FRAMES)) - set(lost))
    assert outcome.seen.counts["forward"] == WireCounts(
        arrived=FRAMES, delivered=FRAMES - len(lost), lost=len(lost), overflowed=0, held=0
    )


def test_other_timing_loses_the_same_frames(tmp_path: Path) -> None:
    # Once all at once without a delay; once each only after the one before, with a delay.
    count = 211
    lost = lost_by(7, "forward", 0.1, count)
    at_once, one_by_one = (
        run_lab(
            tmp_path,
            sizes={"a": [100] * count},
            expected={"b": count - len(lost)},
            forward=wire(delay_ns=delay_ns, loss_ratio=0.1),
            one_by_one=slowly,
        )
        for delay_ns, slowly in ((0, False), (3 * MS, True))
    )
    assert numbers(at_once.forward, "lost") == numbers(one_by_one.forward, "lost") == lost
    assert arrived(at_once, "b") == arrived(one_by_one, "b")


def test_another_seed_loses_others(tmp_path: Path) -> None:
    lost = lost_by(8, "forward", 0.3, FRAMES)
    assert lost != lost_by(7, "forward", 0.3, FRAMES)
    outcome = run_lab(
        tmp_path,
        seed=8,
        sizes={"a": SIZES},
        expected={"b": FRAMES - len(lost)},
        forward=wire(loss_ratio=0.3),
    )
    assert numbers(outcome.forward, "lost") == lost


def test_directions_are_independent(tmp_path: Path) -> None:
    # 23 frames one way and 17 the other at the same time: each way has its numbers and its stream.
    there, back = lost_by(7, "forward", 0.3, 23), lost_by(7, "reverse", 0.3, 17)
    assert [n for n in there if n < 17] != back
    outcome = run_lab(
        tmp_path,
        sizes={"a": [100] * 23, "b": [200] * 17},
        expected={"b": 23 - len(there), "a": 17 - len(back)},
        forward=wire(loss_ratio=0.3),
        reverse=wire(loss_ratio=0.3),
    )
    assert numbers(outcome.forward, "lost") == there
    assert numbers(outcome.reverse, "lost") == back
    assert {packet.size_bytes for packet in outcome.reverse} == {200}


def test_no_frame_is_early_and_few_are_late(tmp_path: Path) -> None:
    delay_ns = 40 * MS
    outcome = run_lab(
        tmp_path, sizes={"a": SIZES}, expected={"b": FRAMES}, forward=wire(delay_ns=delay_ns)
    )
    # Seen from outside of the relay: from before the frame was sent until it could be received.
    late_ns = [
        arrival.time_ns - outcome.seen.sent_ns["a"][arrival.number] - delay_ns
        for arrival in outcome.seen.arrivals["b"]
    ]
    assert min(late_ns) >= 0
    assert median(late_ns) < LATE_NS
    assert arrived(outcome, "b") == list(range(FRAMES))


def test_what_is_on_the_wire_at_the_end_is_held(tmp_path: Path) -> None:
    outcome = run_lab(
        tmp_path,
        sizes={"a": SIZES, "b": [80]},
        expected={"a": 1, "b": 0},
        forward=wire(delay_ns=3_600_000 * MS),
    )
    assert {(p.fate, p.reason, p.departure_ns) for p in outcome.forward} == {("held", "stopped", 0)}
    assert outcome.seen.counts["forward"] == WireCounts(
        arrived=FRAMES, delivered=0, lost=0, overflowed=0, held=FRAMES
    )
    assert outcome.seen.counts["reverse"].delivered == 1


def test_what_cannot_be_written_is_overflow_and_never_loss(tmp_path: Path) -> None:
    outcome = run_lab(tmp_path, sizes={"a": SIZES}, expected={}, down=["b"])
    assert {(packet.fate, packet.reason) for packet in outcome.forward} == {
        ("overflow", "write_failed")
    }
    assert outcome.seen.counts["forward"] == WireCounts(
        arrived=FRAMES, delivered=0, lost=0, overflowed=FRAMES, held=0
    )


def test_a_frame_that_was_cut_is_overflow_and_reaches_nobody(tmp_path: Path) -> None:
    # 2047 bytes are the most that the relay takes whole; MTU 1500 needs 1514.
    sizes = [1514, 2047, 2048, 3000, 60]
    outcome = run_lab(tmp_path, sizes={"a": sizes}, expected={"b": 3}, mtu_bytes=4000)
    assert [packet.fate for packet in outcome.forward] == [
        "delivered", "delivered", "overflow", "overflow", "delivered",
    ]  # fmt: skip
    assert arrived(outcome, "b") == [0, 1, 4]
    assert outcome.seen.counts["forward"].overflowed == 2


@pytest.mark.parametrize("loss_ratio", [0.0, 0.3, 1.0])
def test_counts_and_log_agree(tmp_path: Path, loss_ratio: float) -> None:
    lost = lost_by(7, "forward", loss_ratio, FRAMES)
    outcome = run_lab(
        tmp_path,
        sizes={"a": SIZES},
        expected={"b": FRAMES - len(lost)},
        forward=wire(loss_ratio=loss_ratio),
    )
    counts = outcome.seen.counts["forward"]
    assert counts.arrived == len(outcome.forward)
    assert counts.delivered == len(numbers(outcome.forward, "delivered"))
    assert counts.lost == len(numbers(outcome.forward, "lost")) == len(lost)
    assert counts.arrived == counts.delivered + counts.lost + counts.overflowed + counts.held
