"""Rule: each queue discipline is built and read back, marks what it was asked to mark, and changes
while packets wait in it without losing one.

What is built is read back and compared by the lab (shaping.check_read_back).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest

from testbed.recording.manifest import Direction
from testbed.scenario.notation import parse_queue
from tests.support.wire_bench import WireBench
from tests.support.wire_lab import BARE, FRAME_BYTES, Change, Orders, Seen

CAPACITY_BIT_S: Final = 1_000_000
FRAMES: Final = 300
"""2.4 s of the capacity, sent at once: far beyond every target."""
PIE_PAUSE_NS: Final = 2_000_000
"""PIE decides when a packet comes, by a probability that it raises every 15 ms: what comes at once
meets none (RFC 8033, 4.1 and 4.2)."""


def shaped(queue: str, capacity_bit_s: int = CAPACITY_BIT_S) -> Direction:
    return msgspec.structs.replace(BARE, capacity_bit_s=capacity_bit_s, queue=parse_queue(queue))


@pytest.fixture(scope="module")
def bench(mark: str) -> Iterator[WireBench]:
    with WireBench() as found:
        yield found


Run = Callable[..., Seen]


@pytest.fixture
def run(bench: WireBench) -> Run:
    def carry_out(
        queue: str,
        can_ecn: bool = True,
        changes: list[Change] | None = None,
        capacity_bit_s: int = CAPACITY_BIT_S,
    ) -> Seen:
        return bench.run(
            Orders(
                forward=shaped(queue, capacity_bit_s),
                frames=FRAMES,
                frame_bytes=FRAME_BYTES,
                can_ecn=can_ecn,
                changes=changes or [],
                pause_ns=PIE_PAUSE_NS if queue.startswith("pie") and not changes else 0,
            )
        )

    return carry_out


def leaf(seen: Seen) -> dict[str, Any]:
    return next(queue for queue in seen.queues if queue["handle"] == "10:")


def marked(seen: Seen) -> int:
    return sum(arrival.ce for arrival in seen.arrivals)


def counted_marks(seen: Seen) -> int:
    found = leaf(seen)
    if found["kind"] == "cake":
        return sum(tin["ecn_mark"] for tin in found["tins"])
    return int(found["marked"] if found["kind"] == "red" else found["ecn_mark"])


@pytest.mark.parametrize(
    "queue",
    ["codel ecn", "fq_codel ecn", "cake", "red 400kB min 20kB max 60kB ecn", "pie ecn"],
)
def test_a_queue_that_marks(run: Run, queue: str) -> None:
    seen = run(queue)
    # PIE drops again where its probability is above 10 % (RFC 8033, 5.1): it may pass the range in
    # which it marks between two packets.
    assert marked(seen) > 0 or queue == "pie ecn"
    assert marked(seen) == counted_marks(seen)
    assert len(seen.arrivals) + leaf(seen)["drops"] == FRAMES
    assert {arrival.flipped for arrival in seen.arrivals} == {0}


@pytest.mark.parametrize("queue", ["codel", "fq_codel", "red 400kB min 20kB max 60kB", "pie"])
def test_a_queue_that_drops_instead(run: Run, queue: str) -> None:
    seen = run(queue)
    assert marked(seen) == 0
    assert leaf(seen)["drops"] == FRAMES - len(seen.arrivals) > 0


@pytest.mark.parametrize("queue", ["codel ecn", "cake"])
def test_a_queue_that_marks_drops_what_cannot_ecn(run: Run, queue: str) -> None:
    seen = run(queue, can_ecn=False)
    assert marked(seen) == 0
    assert leaf(seen)["drops"] == FRAMES - len(seen.arrivals) > 0


@pytest.mark.parametrize("queue", ["400p", "400kB", "fq 400p flow_limit 400p"])
def test_a_queue_that_only_waits(run: Run, queue: str) -> None:
    seen = run(queue)
    assert [arrival.number for arrival in seen.arrivals] == list(range(FRAMES))
    assert marked(seen) == leaf(seen)["drops"] == 0


@pytest.mark.parametrize("queue", ["50p", "50kB", "fq 50p flow_limit 50p"])
def test_a_full_queue_drops_what_comes(run: Run, queue: str) -> None:
    seen = run(queue)
    assert leaf(seen)["drops"] == FRAMES - len(seen.arrivals)
    # One more is in HTB's hands, and those that left while the others were sent.
    assert 50 <= len(seen.arrivals) < FRAMES


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("400p", "500p"),
        ("400kB", "500kB"),
        ("codel 400p target 10s interval 20s", "codel 500p target 20s interval 40s ecn"),
        ("fq_codel 400p target 10s interval 20s", "fq_codel 500p target 20s interval 40s ecn"),
        ("cake rtt 100s", "cake 5MB rtt 200s"),
        ("pie 400p target 4s", "pie 500p target 3s ecn"),
        ("fq 400p flow_limit 400p", "fq 500p flow_limit 500p ce_threshold 10s"),
        ("red 400kB min 300kB max 390kB", "red 400kB min 300kB max 390kB"),
    ],
)
def test_a_change_keeps_what_is_queued(run: Run, before: str, after: str) -> None:
    # Slow, so that much is queued at each change, however long it takes. PIE's queue must stay
    # below half of its target of at most 4.29 s, where it never drops (RFC 8033, 5.1).
    slow = 1_000_000 if before.startswith("pie") else 250_000
    changes = [
        Change(after=150, settings=shaped(before, slow * 6 // 5)),
        Change(after=FRAMES, settings=shaped(after, 4_000_000)),
    ]
    seen = run(before, changes=changes, capacity_bit_s=slow)
    assert [arrival.number for arrival in seen.arrivals] == list(range(FRAMES))
    assert leaf(seen)["drops"] == 0
    assert min(waiting for waiting, _ in seen.queued) > 0
    assert "class change dev a" in seen.commands
