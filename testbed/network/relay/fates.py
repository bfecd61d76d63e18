"""What the rules of one direction do to each packet, by its number alone. Pure.

Rules:

- Each impairment draws from streams of its own (`streams`), so that turning one on changes no
  other, and the same seed gives the same fates whatever the timing.
- A packet that is lost is neither duplicated nor corrupted nor reordered; one that is not may be
  all three.
- Fates are decided ahead for blocks of packets, in order: a chain of states (Gilbert-Elliott, four
  states) goes on from block to block and begins, in its first state, with the rules.

Not here, because they need more than a number: outages (the time), segments of flows (the frame),
queues before a trace (the time and the size). See `wire`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from testbed.events.link import REASONS
from testbed.network.relay.config import WireConfig
from testbed.network.relay.distributions import Table, offsets_ns
from testbed.network.relay.streams import Flags, Stream, below, threshold
from testbed.scenario.impairments import (
    Bernoulli,
    Every,
    FourState,
    GilbertElliott,
    Listed,
    Loss,
    Pick,
)

BLOCK: Final = 1024
"""Packets that are decided at once: 0.1 to 0.6 ms of work, every 1024th packet."""
_ETHERNET_BYTES: Final = 14


class Special(NamedTuple):
    """A packet that something befalls."""

    lost: int
    """Reason of its loss (index in REASONS), 0: it is not lost."""
    copied: bool
    flip: int
    """64 random bits that say which bit of the frame flips (`flipped`), -1: none does."""
    extent: int
    """How many later packets overtake it, 0: none."""


class Block(NamedTuple):
    """What is decided about the packets `first` to `end` - 1."""

    first: int
    end: int
    specials: dict[int, Special]
    """By number, ascending: the packets that something befalls."""
    offsets_ns: list[int] | None
    """Per packet what its delay varies by; None: that of no packet does."""


class Fates:
    """The rules of one direction.

    Args:
        seed: of the run.
        link: the link's name.
        direction: ``forward`` or ``reverse``.
        wire: the rules.
        first: number of the first packet that they meet.
    """

    def __init__(
        self, *, seed: int, link: str, direction: str, wire: WireConfig, first: int = 0
    ) -> None:
        self._key = (seed, link, direction)
        self._wire = wire
        self._loss = _Decided(_losses(wire.loss, self._stream))
        self._flip = self._stream("corrupt.bit")
        self._delay = self._stream("delay_variation")
        self.change(wire, first)

    def _stream(self, impairment: str) -> Stream:
        return Stream(*self._key, impairment)

    def change(self, wire: WireConfig, first: int) -> None:
        """New rules from packet `first` on.

        A loss rule that stays the same goes on where it is: its chain of states does not begin
        anew because something else changed.
        """
        if wire.loss != self._wire.loss:
            self._loss = _Decided(_losses(wire.loss, self._stream))
        self._wire = wire
        self._next = first
        self._reason = reason_of(wire.loss)
        self._duplicate = _Picker(wire.duplicate, self._stream("duplicate"))
        self._corrupt = _Picker(wire.corrupt, self._stream("corrupt"))
        reorder = wire.reorder.pick if wire.reorder else None
        self._reorder = _Picker(reorder, self._stream("reorder"))
        self._extents = _extents(wire)
        variation = wire.variation
        self._table: Table = np.array(variation.table if variation else (), np.int64)

    def block(self) -> Block:
        """The fates of the next packets, to the end of their block of `BLOCK`."""
        first = self._next
        count = BLOCK - first % BLOCK
        self._next = first + count
        specials: dict[int, Special] = {}
        lost = self._loss(first, count)
        copied = self._duplicate(first, count)
        flipped = self._corrupt(first, count)
        overtaken = self._reorder(first, count)
        touched = np.flatnonzero(lost | copied | flipped | overtaken)
        flips = self._flip.slice(first, count) if flipped.any() else None
        for place in touched.tolist():
            if lost[place]:
                specials[first + place] = Special(self._reason, False, -1, 0)
                continue
            specials[first + place] = Special(
                0,
                bool(copied[place]),
                int(flips[place]) if flips is not None and flipped[place] else -1,
                self._extent(first + place) if overtaken[place] else 0,
            )
        return Block(first, first + count, specials, self._offsets(first, count))

    def _extent(self, number: int) -> int:
        default = self._wire.reorder.extent if self._wire.reorder else 0
        return self._extents.get(number, default)

    def _offsets(self, first: int, count: int) -> list[int] | None:
        variation = self._wire.variation
        if variation is None or not variation.spread_ns:
            return None
        draws = self._delay.slice(first, count)
        offsets: list[int] = offsets_ns(draws, variation.spread_ns, self._table).tolist()
        return offsets


def flipped(frame: bytes, flip: int) -> bytes:
    """The frame with one bit flipped, any but those of its Ethernet header.

    A real link's frame check sequence spares nothing either; but what it would find never gets
    here: a corrupted packet is one that the link let through.
    """
    bits = (len(frame) - _ETHERNET_BYTES) * 8
    if bits <= 0:
        return frame
    place = _ETHERNET_BYTES * 8 + flip % bits
    changed = bytearray(frame)
    changed[place >> 3] ^= 0x80 >> (place & 7)
    return bytes(changed)


def _extents(wire: WireConfig) -> dict[int, int]:
    reorder = wire.reorder
    if reorder is None or not isinstance(reorder.pick, Listed):
        return {}
    return dict(zip(reorder.pick.numbers, reorder.extents, strict=False))


class _Decided:
    """A rule of loss with what it decided last: the rest of a block can be asked for once more."""

    def __init__(self, rule: Callable[[int, int], Flags]) -> None:
        self._rule = rule
        self._first = 0
        self._lost: Flags = np.empty(0, np.bool_)

    def __call__(self, first: int, count: int) -> Flags:
        past = first - self._first
        if 0 <= past < self._lost.size and past + count == self._lost.size:
            return self._lost[past:]
        self._first, self._lost = first, self._rule(first, count)
        return self._lost


class _Picker:
    """Which packets of a block an impairment meets."""

    def __init__(self, pick: Pick | None, stream: Stream) -> None:
        self._pick = pick
        self._stream = stream
        self._numbers = np.array(pick.numbers if isinstance(pick, Listed) else (), np.int64)

    def __call__(self, first: int, count: int) -> Flags:
        pick = self._pick
        if isinstance(pick, Bernoulli) and pick.ratio:
            return below(self._stream.slice(first, count), pick.ratio)
        chosen = np.zeros(count, np.bool_)
        if isinstance(pick, Every):
            chosen[-(first + 1) % pick.n :: pick.n] = True
        elif isinstance(pick, Listed):
            start, end = np.searchsorted(self._numbers, (first, first + count))
            chosen[self._numbers[start:end] - first] = True
        return chosen


class _GilbertElliott:
    """A packet is lost by the state that it finds (net/sched/sch_netem.c, loss_gilb_ell)."""

    def __init__(self, model: GilbertElliott, state: Stream, outcome: Stream) -> None:
        self._model = model
        self._state = state
        self._outcome = outcome
        self._bad = False

    def __call__(self, first: int, count: int) -> Flags:
        to_bad, to_good = threshold(self._model.p), threshold(self._model.r)
        bad = self._bad
        found = []
        for draw in self._state.slice(first, count).tolist():
            found.append(bad)
            bad = draw >= to_good if bad else draw < to_bad
        self._bad = bad
        outcome = self._outcome.slice(first, count)
        in_bad, in_good = (
            below(outcome, ratio) for ratio in (self._model.bad_loss, self._model.good_loss)
        )
        lost: Flags = np.where(np.array(found, np.bool_), in_bad, in_good)
        return lost


class _FourState:
    """A packet is lost by the state that it leads to (net/sched/sch_netem.c, loss_4state)."""

    def __init__(self, model: FourState, state: Stream) -> None:
        self._rows = [_steps(own, row) for own, row in enumerate(model.transitions)]
        self._stream = state
        self._state = 0

    def __call__(self, first: int, count: int) -> Flags:
        rows, state = self._rows, self._state
        states = []
        for draw in self._stream.slice(first, count).tolist():
            for below_that, next_state in rows[state]:
                if draw < below_that:
                    state = next_state
                    break
            states.append(state)
        self._state = state
        lost: Flags = np.array(states) >= _FIRST_LOST_STATE
        return lost


_FIRST_LOST_STATE: Final = 2


def _steps(own: int, row: tuple[float, ...]) -> list[tuple[int, int]]:
    """Bounds for a draw of 64 bits and the state below each.

    Small draws leave the state, as in netem, so that a chain that leaves it more often leaves it at
    the same packets and more; the last one takes the rest.
    """
    states = [*(state for state in reversed(range(len(row))) if state != own), own]
    steps = []
    total = 0.0
    for state in states:
        total += row[state]
        if row[state] > 0:
            steps.append((threshold(min(total, 1.0)), state))
    steps[-1] = (threshold(1.0), steps[-1][1])
    return steps


def _losses(loss: Loss | None, streams: Callable[[str], Stream]) -> Callable[[int, int], Flags]:
    """Which packets of a block are lost."""
    if isinstance(loss, GilbertElliott):
        return _GilbertElliott(loss, streams("loss.state"), streams("loss"))
    if isinstance(loss, FourState):
        return _FourState(loss, streams("loss.state"))
    return _Picker(loss if isinstance(loss, Bernoulli | Every | Listed) else None, streams("loss"))


def reason_of(loss: Loss | None) -> int:
    """The reason in the log of a loss by this rule (index in REASONS)."""
    kind = getattr(type(loss), "__struct_config__", None)
    return REASONS.index(str(kind.tag)) if kind is not None else 0
