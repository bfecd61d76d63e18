"""What the wire can do to packets, in base units. Pure data, and what follows from it.

    which packets     Bernoulli  Every  Listed                          duplicate, corrupt, reorder
    loss also         GilbertElliott  FourState  Segments
    when              Variation (of the delay)  Outage (by time)
    how fast          Trace (opportunities to send, instead of a capacity)

Packets of a direction are numbered from 0 in the order they enter the wire, as in the link's log.
How people write these is `testbed.scenario.notation`.

numpy is imported where a chain is solved: whoever reads a scenario pays for it only then.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from testbed.units import NS_PER_MS

MTU_BYTES: Final = 1500
"""What one opportunity of a trace carries of IP packets (Mahimahi's MTU-sized packets)."""
DEFAULT_EXTENT: Final = 3
"""Packets that overtake a reordered one: 3 make three duplicate ACKs (RFC 5681, 3.2)."""
DEFAULT_WITHIN_NS: Final = 100 * NS_PER_MS
"""How long a reordered packet waits for others to overtake it, at most."""


class _Rule(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    pass


class Bernoulli(_Rule, frozen=True, kw_only=True, tag="bernoulli"):
    """Each packet independently with the same probability."""

    ratio: float

    @property
    def mean_ratio(self) -> float:
        """Share of packets in the long run."""
        return self.ratio

    @property
    def variance_factor(self) -> float:
        """Variance of a count over that of independent packets of the same ratio."""
        return 1.0


class Every(_Rule, frozen=True, kw_only=True, tag="every"):
    """Every n-th packet: numbers n - 1, 2 n - 1, 3 n - 1 and so on."""

    n: int

    @property
    def mean_ratio(self) -> float:
        """Share of packets in the long run."""
        return 1 / self.n

    def count(self, packets: int) -> int:
        """How many of the first `packets` it meets, exactly."""
        return packets // self.n


class Listed(_Rule, frozen=True, kw_only=True, tag="listed"):
    """Exactly these packets, ascending."""

    numbers: tuple[int, ...]

    @property
    def mean_ratio(self) -> float:
        """Share of packets in the long run: none, as the list ends."""
        return 0.0

    def count(self, packets: int) -> int:
        """How many of the first `packets` it meets, exactly."""
        return bisect.bisect_left(self.numbers, packets)


class GilbertElliott(_Rule, frozen=True, kw_only=True, tag="gilbert_elliott"):
    """Two states, good and bad, with a loss ratio each (Elliott 1963; tc-netem(8), gemodel).

    A packet is lost by the state that it finds; the state changes with each packet.
    """

    p: float
    """Good to bad, per packet."""
    r: float
    """Bad to good, per packet."""
    bad_loss: float = 1.0
    """1-h: loss ratio in the bad state."""
    good_loss: float = 0.0
    """1-k: loss ratio in the good state."""

    @property
    def bad_ratio(self) -> float:
        """Share of packets that find the bad state."""
        return self.p / (self.p + self.r) if self.p else 0.0

    @property
    def mean_ratio(self) -> float:
        """Share of packets lost in the long run: (1-h) p/(p+r) + (1-k) r/(p+r)."""
        return self.bad_loss * self.bad_ratio + self.good_loss * (1 - self.bad_ratio)

    @property
    def variance_factor(self) -> float:
        """Variance of a count over that of independent packets of the same ratio."""
        states = ((1 - self.p, self.p), (self.r, 1 - self.r))
        return _variance_factor(states, (self.good_loss, self.bad_loss))


class FourState(_Rule, frozen=True, kw_only=True, tag="four_state"):
    """Markov chain of four states (Salsano, Ludovici, Ordine 2009; tc-netem(8), state).

    1 received in a gap, 2 received in a burst, 3 lost in a burst, 4 lost in a gap (alone). The
    state changes with each packet, and the new one tells whether it is lost. 4 leads to 1 always.
    """

    p13: float
    p31: float
    p32: float = 0.0
    p23: float = 1.0
    p14: float = 0.0

    @property
    def transitions(self) -> tuple[tuple[float, ...], ...]:
        """Probability from each state (rows) to each (columns)."""
        return (
            (1 - self.p13 - self.p14, 0.0, self.p13, self.p14),
            (0.0, 1 - self.p23, self.p23, 0.0),
            (self.p31, self.p32, 1 - self.p31 - self.p32, 0.0),
            (1.0, 0.0, 0.0, 0.0),
        )

    @property
    def mean_ratio(self) -> float:
        """Share of packets lost in the long run."""
        if not self.p13 and not self.p14:  # the usual case needs no numpy
            return 0.0
        shares = _stationary(self.transitions)
        return min(1.0, shares[2] + shares[3])

    @property
    def variance_factor(self) -> float:
        """Variance of a count over that of independent packets of the same ratio."""
        return _variance_factor(self.transitions, (0.0, 0.0, 1.0, 1.0))


class Segments(_Rule, frozen=True, kw_only=True, tag="segments"):
    """The n-th packet of each TCP flow that carries data, for these n, ascending, from 1.

    A flow is one direction of one connection; retransmissions count like any other.
    """

    ordinals: tuple[int, ...]

    @property
    def mean_ratio(self) -> float:
        """Share of packets in the long run: none, as the list ends."""
        return 0.0


Pick: TypeAlias = Bernoulli | Every | Listed
"""Which packets an impairment meets."""
Loss: TypeAlias = Bernoulli | Every | Listed | GilbertElliott | FourState | Segments


class Reorder(msgspec.Struct, frozen=True, kw_only=True):
    """Packets that are held back until others have overtaken them (RFC 4737).

    A packet that nothing overtakes in time leaves in the order it came.
    """

    pick: Pick
    extent: int = DEFAULT_EXTENT
    """How many later packets overtake it (RFC 4737, 4.2)."""
    extents: tuple[int, ...] = ()
    """Of a `Listed` pick: the extent of each packet; empty: `extent` for all."""
    within_ns: int = DEFAULT_WITHIN_NS
    """Longest wait for them, beyond the delay."""


DISTRIBUTIONS: Final = ("uniform", "normal", "pareto", "paretonormal")
"""Shapes with a name, those of tc-netem(8)."""


class Variation(msgspec.Struct, frozen=True, kw_only=True):
    """Random variation of the delay of each packet around the delay that is set."""

    spread_ns: int
    """Uniform: half the width. Else the standard deviation, as tables of iproute2 are scaled."""
    distribution: Literal["uniform", "normal", "pareto", "paretonormal", "table"] = "uniform"
    file: str = ""
    """Of the distribution ``table``: a file in iproute2's format."""
    overtaking: bool = False
    """Whether a packet may overtake another that was delayed longer."""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A time in which every packet that enters the wire is lost; from the start of the load."""

    start_ns: int
    duration_ns: int

    @property
    def end_ns(self) -> int:
        """Its end, not part of it."""
        return self.start_ns + self.duration_ns


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A capacity that follows a trace of opportunities to send (Mahimahi's format)."""

    name: str
    """As typed: a name of `testbed list`, or a path."""
    opportunities: int
    """In one period; each carries MTU_BYTES of IP packets."""
    period_ms: int
    """After it the trace begins again."""
    sha256: str
    """Of the file, so that a later run can tell whether it is the same."""

    @property
    def mean_bit_s(self) -> int:
        """Mean capacity in bit/s of IP packets."""
        return self.opportunities * MTU_BYTES * 8 * 1000 // self.period_ms


_SURE: Final = 1e-12
"""A ratio so near to 0 or 1 is one of them but for rounding."""
_Chain: TypeAlias = Sequence[Sequence[float]]
"""Probability from each state (rows) to each (columns)."""


def _reached(states: _Chain) -> list[int]:
    """The states that can be reached from the first, in which every chain begins."""
    reached = [0]
    for state in reached:
        reached += [to for to, p in enumerate(states[state]) if p > 0 and to not in reached]
    return sorted(reached)


def _stationary(states: _Chain) -> tuple[float, ...]:
    """Share of packets in each state in the long run (the chain's stationary distribution)."""
    import numpy as np

    reached = _reached(states)
    chain = np.array(states)[np.ix_(reached, reached)]
    size = len(reached)
    equations = np.vstack((chain.T - np.eye(size), np.ones(size)))
    found = np.linalg.lstsq(equations, np.append(np.zeros(size), 1.0), rcond=None)[0]
    shares = dict(zip(reached, found.clip(0, 1).tolist(), strict=True))
    return tuple(shares.get(state, 0.0) for state in range(len(states)))


def _variance_factor(states: _Chain, losses: Sequence[float]) -> float:
    """Asymptotic variance of the number of losses over n packets, over n L (1 - L).

    From the chain's fundamental matrix (Kemeny and Snell, Finite Markov Chains, 4.6).
    """
    import numpy as np

    reached = _reached(states)
    chain = np.array(states)[np.ix_(reached, reached)]
    shares = np.array(_stationary(states))[reached]
    loss = np.array(losses)[reached]
    mean = float(shares @ loss)
    if not _SURE < mean < 1 - _SURE:
        return 1.0
    centred = loss - mean
    one_step = np.ones((len(reached), 1)) @ shares[None, :]
    fundamental = np.linalg.inv(np.eye(len(reached)) - chain + one_step)
    covariances = float((shares * centred) @ (fundamental @ centred) - (shares * centred) @ centred)
    return (mean * (1 - mean) + 2 * covariances) / (mean * (1 - mean))
