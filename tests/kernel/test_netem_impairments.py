"""Rule: each impairment of netem's wire is built, read back, and met by the packets.

What is built is read back and compared where it is built (kernel_wire.join): a lab that runs at all
has passed that. Here packets are counted.

netem's random numbers cannot be seeded (`seed` needs kernel and iproute2 6.6). So that not one run
in a thousand fails by chance, bounds are exact intervals of confidence 1 - 10^-6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pytest

from testbed.analysis.metrics import reordering
from testbed.network import netem
from testbed.recording.manifest import Direction
from testbed.scenario.impairments import Bernoulli, FourState, GilbertElliott
from testbed.scenario.notation import parse_loss, parse_pick, parse_variation
from tests.support.intervals import binomial_interval
from tests.support.wire_bench import WireBench
from tests.support.wire_lab import BARE, Change, Orders, Seen

MS: Final = 1_000_000
FRAMES: Final = 2000
CONFIDENCE: Final = 1 - 1e-6
LATE_NS: Final = 15 * MS
"""A timer of an emulated CPU wakes 0.5 ms late at the median; a process that waits for one of two
CPUs, 10 ms. A delay that was left out, or was made twice, is off by 20 ms or more."""


def way(**settings: Any) -> Direction:
    return msgspec.structs.replace(BARE, **settings)


@pytest.fixture(scope="module")
def bench(mark: str) -> Iterator[WireBench]:
    with WireBench() as found:
        yield found


Run = Callable[..., Seen]


@pytest.fixture
def run(bench: WireBench) -> Run:
    def carry_out(
        frames: int = FRAMES,
        changes: list[Change] | None = None,
        pause_ns: int = 0,
        netem_limit: int | None = None,
        **settings: Any,
    ) -> Seen:
        return bench.run(
            Orders(
                forward=way(**settings),
                frames=frames,
                changes=changes or [],
                pause_ns=pause_ns,
                netem_limit=netem_limit,
            )
        )

    return carry_out


def numbers(seen: Seen) -> list[int]:
    return [arrival.number for arrival in seen.arrivals]


def delays_ns(seen: Seen) -> list[int]:
    return [arrival.time_ns - seen.sent_ns[arrival.number] for arrival in seen.arrivals]


def test_a_bare_wire_carries_everything_as_it_is(run: Run) -> None:
    seen = run()
    assert numbers(seen) == list(range(FRAMES))
    assert {arrival.flipped for arrival in seen.arrivals} == {0}
    assert (seen.netem["drops"], seen.netem["packets"], seen.overflowed) == (0, FRAMES, 0)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2%", id="Bernoulli"),
        pytest.param("gilbert-elliott p 5% r 25% 1-h 90% 1-k 1%", id="Gilbert-Elliott"),
        pytest.param("markov p13 5% p31 30% p32 20% p23 60% p14 1%", id="four states"),
        pytest.param("markov p13 50% p31 100% p14 50%", id="two halves that sum to one"),
    ],
)
def test_loss(run: Run, text: str) -> None:
    loss = parse_loss(text)
    assert isinstance(loss, Bernoulli | GilbertElliott | FourState)
    seen = run(loss=loss)
    lost = FRAMES - len(seen.arrivals)
    assert seen.netem["drops"] == lost
    assert numbers(seen) == sorted(set(numbers(seen)))
    # A loss in bursts varies more: as many packets as would vary as much were they independent.
    independent = max(1, int(FRAMES / loss.variance_factor))
    low, high = binomial_interval(independent, loss.mean_ratio, CONFIDENCE)
    assert low / independent <= lost / FRAMES <= high / independent
    assert seen.overflowed == 0


def test_duplicates(run: Run) -> None:
    seen = run(duplicate=parse_pick("5%"), delay_ns=5 * MS)
    copies = len(seen.arrivals) - FRAMES
    low, high = binomial_interval(FRAMES, 0.05, CONFIDENCE)
    assert low <= copies <= high
    assert sorted(set(numbers(seen))) == list(range(FRAMES))
    # A copy is never duplicated again: it enters with duplication off (netem_enqueue).
    assert max(np.bincount(numbers(seen))) == 2
    assert seen.netem["drops"] == 0


def test_loss_and_duplication_at_once(run: Run) -> None:
    # netem_enqueue: a frame that is chosen for both passes once and is not counted among `drops`;
    # the copy of one that is not lost comes in anew, and may be lost then.
    seen = run(duplicate=parse_pick("100%"), loss=parse_loss("20%"))
    counts = np.bincount(numbers(seen), minlength=FRAMES)
    assert set(counts.tolist()) == {1, 2}
    twice = int((counts == 2).sum())
    low, high = binomial_interval(FRAMES, 0.8 * 0.8, CONFIDENCE)
    assert low <= twice <= high
    low, high = binomial_interval(FRAMES, 0.8 * 0.2, CONFIDENCE)
    assert low <= seen.netem["drops"] <= high
    assert seen.netem["packets"] == len(seen.arrivals)


def test_corruption_flips_one_bit(run: Run) -> None:
    seen = run(corrupt=parse_pick("5%"))
    assert len(seen.arrivals) == FRAMES
    flips = [arrival.flipped for arrival in seen.arrivals]
    low, high = binomial_interval(FRAMES, 0.05, CONFIDENCE)
    assert low <= flips.count(1) <= high
    assert set(flips) == {0, 1}


def test_delay(run: Run) -> None:
    seen = run(frames=200, delay_ns=40 * MS, pause_ns=2 * MS)
    assert numbers(seen) == list(range(200))
    found = sorted(delays_ns(seen))
    # tc cuts up to 2 us of a delay (netem counts in 64 ns).
    assert found[0] >= 40 * MS - 2_000
    assert found[100] < 40 * MS + LATE_NS


@pytest.mark.parametrize("shape", ["uniform", "normal", "pareto", "paretonormal"])
@pytest.mark.parametrize("overtaking", [False, True], ids=["in order", "overtaking"])
def test_delay_variation(run: Run, shape: str, overtaking: bool) -> None:
    text = f"20ms {shape}" + " overtaking" * overtaking
    seen = run(frames=500, delay_ns=100 * MS, delay_variation=parse_variation(text))
    assert sorted(numbers(seen)) == list(range(500))
    order = np.array(numbers(seen))
    reordered = int(reordering.reordered(order).sum())
    if not overtaking:
        assert reordered == 0
        return
    # Frames follow one another within far less than 20 ms.
    assert reordered > 100
    found = np.array(delays_ns(seen)) / MS
    assert abs(np.median(found) - 100) < LATE_NS / MS
    assert 8 < np.std(found) < 40


def test_a_table_of_ones_own(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "two.dist"
    file.write_text("-8192 8192\n")
    variation = parse_variation(f'30ms table "{file}" overtaking')
    seen = run(frames=300, delay_ns=100 * MS, delay_variation=variation)
    found = np.array(delays_ns(seen)) / MS
    early = int((found < 100).sum())
    low, high = binomial_interval(300, 0.5, CONFIDENCE)
    assert low <= early <= high
    assert found.min() >= 70 - 0.002
    assert "TC_LIB_DIR=/run/netem tc -batch" in seen.commands


def test_the_longest_table_that_is_not_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "long.dist"
    file.write_text("0\n" * netem.MAX_ENTRIES)
    variation = parse_variation(f'1ms table "{file}"')
    # All that netem can be told at once, so that the message is as long as it can be.
    seen = run(
        frames=20,
        delay_ns=20 * MS,
        delay_variation=variation,
        loss=parse_loss("markov p13 0% p31 100%"),
        duplicate=parse_pick("0.0001%"),
        corrupt=parse_pick("0.0001%"),
    )
    assert sorted(set(numbers(seen))) == list(range(20))


def test_loss_is_no_overflow(run: Run) -> None:
    seen = run(loss=parse_loss("50%"), delay_ns=20 * MS)
    assert seen.netem["drops"] > 0
    assert seen.overflowed == 0


def test_an_overflow_of_the_delay_line_is_told_apart(run: Run) -> None:
    seen = run(loss=parse_loss("50%"), delay_ns=500 * MS, netem_limit=300)
    lost_and_overflowed = FRAMES - len(seen.arrivals)
    assert seen.netem["drops"] == lost_and_overflowed
    low, high = binomial_interval(FRAMES, 0.5, CONFIDENCE)
    assert low <= seen.netem["drops"] - seen.overflowed <= high
    assert seen.overflowed > 100


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"delay_ns": 1000 * MS}, {"delay_ns": 10 * MS}, id="shorter"),
        pytest.param({"delay_ns": 10 * MS}, {"delay_ns": 1000 * MS}, id="longer"),
        pytest.param(
            {"delay_ns": 1000 * MS, "delay_variation": parse_variation("5ms normal")},
            {"delay_ns": 1000 * MS, "delay_variation": parse_variation("5ms")},
            id="another shape",
        ),
    ],
)
def test_a_change_of_the_delay_loses_nothing_and_keeps_the_order(
    run: Run, before: dict[str, Any], after: dict[str, Any]
) -> None:
    changes = [Change(after=250, settings=way(**after))]
    seen = run(frames=500, changes=changes, **before)
    assert numbers(seen) == list(range(500))
    ((began_ns, ended_ns),) = seen.changed_ns
    assert began_ns < ended_ns
    if before["delay_ns"] > 500 * MS:
        assert seen.queued[0][1] > 0


def test_a_change_replaces_every_setting(run: Run) -> None:
    everything = {
        "delay_ns": 20 * MS,
        "delay_variation": parse_variation("2ms normal overtaking"),
        "loss": parse_loss("gilbert-elliott p 30% r 30%"),
        "duplicate": parse_pick("30%"),
        "corrupt": parse_pick("30%"),
    }
    seen = run(frames=1000, changes=[Change(after=500, settings=way())], **everything)
    later = [arrival for arrival in seen.arrivals if arrival.number >= 500]
    assert [arrival.number for arrival in later] == list(range(500, 1000))
    assert {arrival.flipped for arrival in later} == {0}
    assert len(seen.arrivals) - len(later) != 500


def test_a_change_of_loss_leaves_the_delay(run: Run) -> None:
    settings = {"delay_ns": 2000 * MS}
    changes = [Change(after=100, settings=way(**settings, loss=parse_loss("100%")))]
    seen = run(frames=200, changes=changes, **settings)
    assert numbers(seen) == list(range(100))
    assert seen.queued[0][1] > 0
    assert seen.netem["drops"] == 100
