"""Rule: the long-run numbers of a rule are those of the rule, by closed forms and by drawing it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.scenario.impairments import (
    Bernoulli,
    Every,
    FourState,
    GilbertElliott,
    Listed,
    Outage,
    Segments,
    Trace,
)

Chain = GilbertElliott | FourState


def drawn(model: Chain, packets: int, draw: random.Random) -> int:
    """Losses among so many packets, drawn as tc-netem(8) says; another way than the relay's."""
    losses = 0
    if isinstance(model, GilbertElliott):
        bad = False
        for _ in range(packets):
            losses += draw.random() < (model.bad_loss if bad else model.good_loss)
            bad = draw.random() >= model.r if bad else draw.random() < model.p
        return losses
    state = 0
    for _ in range(packets):
        state = draw.choices(range(4), model.transitions[state])[0]
        losses += state >= 2
    return losses


CHAINS = [
    GilbertElliott(p=0.01, r=0.25),
    GilbertElliott(p=0.1, r=0.3, bad_loss=0.5, good_loss=0.02),
    GilbertElliott(p=1.0, r=0.5),
    GilbertElliott(p=0.9, r=0.9),
    FourState(p13=0.05, p31=0.3),
    FourState(p13=0.05, p31=0.3, p32=0.2, p23=0.5, p14=0.02),
    FourState(p13=0.0, p31=0.3, p14=0.1),
]


@pytest.mark.parametrize("model", CHAINS, ids=repr)
def test_mean_and_variance_are_those_of_drawn_packets(model: Chain) -> None:
    draw = random.Random(7)
    packets, samples = 2_000, 300
    counts = [drawn(model, packets, draw) for _ in range(samples)]
    mean = sum(counts) / samples
    variance = sum((count - mean) ** 2 for count in counts) / (samples - 1)
    wanted = model.mean_ratio * packets
    independent = packets * model.mean_ratio * (1 - model.mean_ratio)
    # Four standard errors of a mean; of a variance of a nearly normal count, sqrt(2/n) each.
    bound = 4 * math.sqrt(model.variance_factor * independent / samples)
    assert abs(mean - wanted) < bound + 0.002 * packets  # it begins in state 1, as netem does
    assert variance == pytest.approx(
        model.variance_factor * independent, rel=4 * math.sqrt(2 / samples)
    )


@given(p=st.floats(0.001, 1), r=st.floats(0.001, 1))
def test_gilberts_chain_in_closed_form(p: float, r: float) -> None:
    model = GilbertElliott(p=p, r=r)
    assert model.mean_ratio == pytest.approx(p / (p + r))
    # Two states: the correlation at lag k is (1-p-r)^k, a geometric series.
    correlation = 1 - p - r
    factor = (1 + correlation) / (1 - correlation)
    assert model.variance_factor == pytest.approx(factor, abs=1e-9)


@given(p=st.floats(0.001, 1), r=st.floats(0.001, 1))
def test_four_states_without_the_additions_are_gilberts(p: float, r: float) -> None:
    four, two = FourState(p13=p, p31=r), GilbertElliott(p=p, r=r)
    assert four.mean_ratio == pytest.approx(two.mean_ratio)
    assert four.variance_factor == pytest.approx(two.variance_factor, abs=1e-9)


@given(
    p=st.floats(0, 1),
    r=st.floats(0, 1),
    bad=st.floats(0, 1),
    good=st.floats(0, 1),
)
def test_elliotts_chain_has_a_ratio_whatever_its_values(
    p: float, r: float, bad: float, good: float
) -> None:
    model = GilbertElliott(p=p, r=r, bad_loss=bad, good_loss=good)
    assert min(good, bad) - 1e-9 <= model.mean_ratio <= max(good, bad) + 1e-9


@given(
    out=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
    back=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
    p23=st.floats(0, 1),
)
def test_four_states_have_a_ratio_whatever_their_values(
    out: tuple[float, float], back: tuple[float, float], p23: float
) -> None:
    model = FourState(p13=out[0], p14=out[1], p31=back[0], p32=back[1], p23=p23)
    assert all(sum(row) == pytest.approx(1) for row in model.transitions)
    assert -1e-6 <= model.mean_ratio <= 1 + 1e-6


@pytest.mark.parametrize(
    ("model", "ratio", "factor"),
    [
        # The chain begins in the first state: what it cannot reach does not count.
        (GilbertElliott(p=0.0, r=0.0), 0.0, 1.0),
        (GilbertElliott(p=0.0, r=0.5, good_loss=0.1), 0.1, 1.0),
        (GilbertElliott(p=0.0, r=0.0, good_loss=0.1), 0.1, 1.0),
        (GilbertElliott(p=0.5, r=0.0), 1.0, 1.0),
        (GilbertElliott(p=0.5, r=0.0, bad_loss=0.2), 0.2, 1.0),
        (GilbertElliott(p=1.0, r=1.0), 0.5, 0.0),
        (FourState(p13=0.0, p31=0.0), 0.0, 1.0),
        (FourState(p13=0.0, p31=0.0, p32=1.0), 0.0, 1.0),
        (FourState(p13=0.1, p31=0.0), 1.0, 1.0),
        (FourState(p13=0.1, p31=0.5, p32=0.5, p23=0.0), 0.0, 1.0),
        (FourState(p13=0.0, p31=0.5, p14=1.0), 0.5, 0.0),
        (FourState(p13=0.0, p31=0.0, p14=0.25), 0.2, 0.6),
    ],
    ids=repr,
)
def test_chains_at_their_ends(model: Chain, ratio: float, factor: float) -> None:
    assert model.mean_ratio == pytest.approx(ratio, abs=1e-9)
    assert model.variance_factor == pytest.approx(factor, abs=1e-9)


def test_independent_packets() -> None:
    model = Bernoulli(ratio=0.02)
    assert (model.mean_ratio, model.variance_factor) == (0.02, 1.0)


@given(n=st.integers(1, 50), packets=st.integers(0, 500))
def test_every_nth_is_counted_exactly(n: int, packets: int) -> None:
    rule = Every(n=n)
    assert rule.count(packets) == sum(number % n == n - 1 for number in range(packets))
    assert rule.mean_ratio == 1 / n


@given(numbers=st.sets(st.integers(0, 60), min_size=1), packets=st.integers(0, 70))
def test_a_list_is_counted_exactly(numbers: set[int], packets: int) -> None:
    rule = Listed(numbers=tuple(sorted(numbers)))
    assert rule.count(packets) == sum(number < packets for number in numbers)
    assert rule.mean_ratio == 0.0


def test_what_ends_has_no_long_run() -> None:
    assert Segments(ordinals=(1, 2, 3)).mean_ratio == 0.0


def test_an_outage_ends() -> None:
    assert Outage(start_ns=5, duration_ns=7).end_ns == 12


def test_the_mean_of_a_trace() -> None:
    trace = Trace(name="t", opportunities=3, period_ms=4, sha256="")
    assert trace.mean_bit_s == 3 * 1500 * 8 * 250
