"""What each direction of a wire was to do to packets against what it did.

Rules:

- A rule is held against the packets that came while it was in force; changes of other settings do
  not end it. What is exact must be exact: the packets themselves, not only their number.
- A relay's log says what was done to each packet. Which ones a rule could have met follows from the
  order of its decisions (testbed.network.relay): first the queue before a trace, then loss, then
  all others.
- Without a log the captures show what came. netem draws each impairment for each packet and each
  copy; what follows from that for what can be seen is in `_by_captures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from testbed.analysis.crossings import Passage
from testbed.analysis.decode.link import DROPPED, HELD, LOST
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.binomial import interval
from testbed.analysis.metrics.streams import TCP, connection_keys
from testbed.analysis.periods import Period
from testbed.analysis.summary import NO_RULE, Impairment
from testbed.analysis.verdict import LOSS_CONFIDENCE
from testbed.events.link import COPY, CORRUPTED, DIGEST_BYTES, GAVE_UP, OVERTAKEN, REASONS
from testbed.recording.manifest import Direction
from testbed.scenario import texts
from testbed.scenario.impairments import (
    Bernoulli,
    Every,
    FourState,
    GilbertElliott,
    Listed,
    Loss,
    Outage,
    Pick,
    Reorder,
    Segments,
)

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Name: TypeAlias = Literal["loss", "duplication", "corruption", "reordering", "outage"]
Rule: TypeAlias = Loss | Reorder | tuple[Outage, ...]

_NO_RULE: Final = Bernoulli(ratio=0.0)
_OUTAGE: Final = REASONS.index("outage")


@dataclass(frozen=True, slots=True)
class _Span:
    """Periods one after the other in which one rule was in force."""

    rule: Rule
    first: int
    last: int
    since_ns: int | None

    def within(self, period: Numbers) -> Flags:
        """Which of these places of periods are in it."""
        inside: Flags = (period >= self.first) & (period <= self.last)
        return inside


def impairments(passage: Passage, start_ns: int | None) -> list[Impairment]:
    """Those of one direction; `start_ns`: CLOCK_MONOTONIC when the load started."""
    if passage.way.link.wire == "direct":
        return []
    if passage.originals is not None:
        return list(_by_log(passage, start_ns))
    if passage.wire.to_receiver is not None:
        return list(_by_captures(passage, start_ns))
    return []


def _spans(
    passage: Passage, of: Callable[[Direction], Rule | None], start_ns: int | None
) -> Iterator[_Span]:
    periods = passage.periods.periods
    first = 0
    for place, period in enumerate(periods):
        rule = of(period.settings)
        if place + 1 < len(periods) and of(periods[place + 1].settings) == rule:
            continue
        yield _Span(rule or _NO_RULE, first, place, _since(periods[first], first, start_ns))
        first = place + 1


def _since(period: Period, place: int, start_ns: int | None) -> int | None:
    return None if place == 0 or start_ns is None else period.start_ns - start_ns


def _by_log(passage: Passage, start_ns: int | None) -> Iterator[Impairment]:
    log = _Log(passage, start_ns)
    readers: tuple[tuple[Name, Callable[[Direction], Any], Callable[[_Span], Any]], ...] = (
        ("loss", _loss, log.loss),
        ("duplication", lambda way: way.duplicate, log.duplication),
        ("corruption", lambda way: way.corrupt, log.corruption),
        ("reordering", lambda way: way.reorder, log.reordering),
        ("outage", lambda way: way.outages or None, log.outage),
    )
    for name, of, read in readers:
        for span in _spans(passage, of, start_ns):
            found = read(span)
            if found is None:
                continue
            if span.rule is not _NO_RULE:
                yield _judged(name, span, found)
            elif found.met.any():
                # Nothing may befall a packet that no rule asks for: there is no chance in that.
                yield _judged(name, span, replace(found, named=np.zeros_like(found.met)))


@dataclass(frozen=True, slots=True)
class _Found:
    """Packets of one span."""

    met: Flags
    """Per packet that the rule could have met whether it did."""
    named: Flags | None = None
    """Whether an exact rule names it; None: it is not exact, or that cannot be known."""
    note: str = ""


class _Log:
    """The relay's log of one direction, a row for each packet that came to it."""

    def __init__(self, passage: Passage, start_ns: int | None) -> None:
        assert passage.originals is not None
        assert passage.records is not None
        self._passage = passage
        self._records = records = passage.originals
        self._start_ns = start_ns
        self._number = records["number"].astype(np.int64)
        self._arrival_ns = records["arrival_ns"].astype(np.int64)
        self._period = passage.periods.at(self._arrival_ns)
        self._queued = records["fate"] != DROPPED
        self._kept = self._queued & (records["fate"] != LOST)
        copies = passage.records[(passage.records["flags"] & COPY) != 0]
        self._copied = np.isin(self._number, copies["number"].astype(np.int64))

    def loss(self, span: _Span) -> _Found:
        """All losses but those of outages."""
        rule = span.rule
        could = span.within(self._period) & self._queued
        met = (self._records["fate"] == LOST) & (self._records["reason"] != _OUTAGE)
        if isinstance(rule, Segments):
            named = self._segments(rule, span.within(self._period))
            note = "" if named is not None else "the sender was not captured: segments are unknown"
            return _Found(met[could], None if named is None else named[could], note)
        return _Found(met[could], self._named(rule, could))

    def duplication(self, span: _Span) -> _Found:
        """Packets with a copy."""
        could = span.within(self._period) & self._kept
        return _Found(self._copied[could], self._named(span.rule, could))

    def corruption(self, span: _Span) -> _Found:
        """Packets with a bit flipped."""
        could = span.within(self._period) & self._kept
        met = (self._records["flags"] & CORRUPTED) != 0
        return _Found(met[could], self._named(span.rule, could))

    def reordering(self, span: _Span) -> _Found:
        """Packets that were chosen to be overtaken, whether any others came to do so or not."""
        could = span.within(self._period) & self._kept & (self._records["fate"] != HELD)
        flags = self._records["flags"][could]
        alone = int(((flags & GAVE_UP) != 0).sum())
        note = f"{alone} of them left before as many had overtaken them as were to" if alone else ""
        met = (flags & (OVERTAKEN | GAVE_UP)) != 0
        return _Found(met, self._named(_pick(span.rule), could), note)

    def outage(self, span: _Span) -> _Found | None:
        """Packets that came in its time; those that another rule took are left out."""
        rule, start_ns = span.rule, self._start_ns
        if start_ns is None or not isinstance(rule, tuple):
            return None
        during = np.zeros(self._number.size, np.bool_)
        for one in rule:
            since = self._arrival_ns - start_ns
            during |= (since >= one.start_ns) & (since < one.end_ns)
        met = (self._records["fate"] == LOST) & (self._records["reason"] == _OUTAGE)
        other = (self._records["fate"] == LOST) & ~met
        could = span.within(self._period) & self._queued & ~other
        # Packets outside of it are no part of what it met.
        could &= during | met
        return _Found(met[could], during[could])

    def _named(self, rule: Rule, could: Flags) -> Flags | None:
        number = self._number[could]
        if isinstance(rule, Every):
            named: Flags = (number + 1) % rule.n == 0
            return named
        if isinstance(rule, Listed):
            return np.isin(number, np.array(rule.numbers, np.int64))
        return None

    def _segments(self, rule: Segments, during: Flags) -> Flags | None:
        """Packets that carry one of those data segments of their flow."""
        passage, wire = self._passage, self._passage.wire
        if passage.sender is None or passage.sender_rows is None or wire.to_relay is None:
            return None
        # Per packet that came to the relay its row in the sender's capture.
        records = passage.records
        assert records is not None
        row = np.full(len(records), NONE, np.int64)
        sent = wire.to_relay != NONE
        row[wire.to_relay[sent]] = passage.sender_rows[sent]
        row = row[(records["flags"] & COPY) == 0]
        if (row == NONE).any():
            return None
        packets = passage.sender.packets.take(row)
        counts = during & self._queued & (packets.protocol == TCP) & (packets.payload > 0)
        here = np.flatnonzero(counts)
        flow = connection_keys(packets, here)
        order = np.argsort(flow, kind="stable")
        begins = np.ones(here.size, np.bool_)
        begins[1:] = flow[order][1:] != flow[order][:-1]
        place = np.arange(here.size)
        ordinal = place - np.maximum.accumulate(np.where(begins, place, 0)) + 1
        named = np.zeros(self._number.size, np.bool_)
        named[here[order]] = np.isin(ordinal, np.array(rule.ordinals, np.int64))
        return named


def _loss(way: Direction) -> Loss | None:
    """Its rule; manifests of version 0.1 have nothing but a ratio."""
    if way.loss is None and way.loss_ratio:
        return Bernoulli(ratio=way.loss_ratio)
    return way.loss


def _judged(name: Name, span: _Span, found: _Found) -> Impairment:
    ratio = _mean_ratio(span.rule)
    packets, count = int(found.met.size), int(found.met.sum())
    if found.named is None and ratio is not None and packets:
        return _within(name, span, packets, count, ratio, _variance_factor(span.rule), found.note)
    exact = None if found.named is None else bool((found.named == found.met).all())
    return Impairment(
        impairment=name,
        rule=_text(span.rule),
        since_ns=span.since_ns,
        packets=packets,
        count=count,
        configured_ratio=ratio if ratio is not None else _every_ratio(span.rule),
        realised_ratio=count / packets if packets else None,
        expected=None if found.named is None else int(found.named.sum()),
        holds=exact,
        note=found.note,
    )


def _within(
    name: Name, span: _Span, packets: int, count: int, ratio: float, factor: float, note: str
) -> Impairment:
    low, high = interval(count, packets, LOSS_CONFIDENCE, variance_factor=factor)
    return Impairment(
        impairment=name,
        rule=_text(span.rule),
        since_ns=span.since_ns,
        packets=packets,
        count=count,
        configured_ratio=ratio,
        realised_ratio=count / packets,
        low=low,
        high=high,
        holds=low <= ratio <= high,
        note=note,
    )


def _pick(rule: Rule) -> Rule:
    return rule.pick if isinstance(rule, Reorder) else rule


def _mean_ratio(rule: Rule) -> float | None:
    """The ratio of a rule that draws; None of one that is exact."""
    pick = _pick(rule)
    return pick.mean_ratio if isinstance(pick, Bernoulli | GilbertElliott | FourState) else None


def _every_ratio(rule: Rule) -> float | None:
    pick = _pick(rule)
    return pick.mean_ratio if isinstance(pick, Every) else None


def _variance_factor(rule: Rule) -> float:
    pick = _pick(rule)
    if isinstance(pick, GilbertElliott | FourState):
        return max(1.0, pick.variance_factor)
    return 1.0


def _text(rule: Rule) -> str:
    if rule is _NO_RULE:
        return NO_RULE
    if isinstance(rule, tuple):
        return texts.outages_text(rule)
    return texts.reorder_text(rule) if isinstance(rule, Reorder) else texts.loss_text(rule)


def _by_captures(passage: Passage, start_ns: int | None) -> Iterator[Impairment]:
    """Of a wire without a log.

    netem (net/sched/sch_netem.c, netem_enqueue) lets a packet that it would lose and duplicate at
    once pass alone; a copy goes through all of it again, but is not duplicated itself.
    """
    if passage.way.link.wire == "kernel":
        yield from _loss_seen(passage, start_ns)
        yield from _duplication_seen(passage, start_ns)
        yield from _corruption_seen(passage, start_ns)
    elif not any(way.trace or way.outages for way in passage.periods.settings):
        yield from _loss_seen(passage, start_ns)


def _seen(
    name: Name, span: _Span, met: Flags, thinning: float, note: str = ""
) -> Impairment | None:
    """An impairment of which a share of `thinning` can be seen."""
    ratio = _mean_ratio(span.rule)
    packets, count = int(met.size), int(met.sum())
    if not packets or (span.rule is _NO_RULE and not count):
        return None
    if ratio is None:
        return _judged(name, span, _Found(met, None, "not to be told without the relay's log"))
    factor = _variance_factor(span.rule)
    return _within(name, span, packets, count, ratio * thinning, factor, note)


def _loss_seen(passage: Passage, start_ns: int | None) -> Iterator[Impairment]:
    lost, sent_ns = passage.lost, passage.wire.sent_ns
    if lost is None or sent_ns is None:
        return
    period = passage.periods.at(sent_ns)
    for span in _spans(passage, _loss, start_ns):
        thinning = _share_seen(passage, span, period, lambda way: 1 - _ratio(way.duplicate))
        note = "" if thinning == 1 else "netem passes a packet that it would lose and duplicate"
        found = _seen("loss", span, lost[span.within(period)], thinning, note)
        if found is not None:
            yield found


def _duplication_seen(passage: Passage, start_ns: int | None) -> Iterator[Impairment]:
    wire = passage.wire
    if wire.sent_ns is None or wire.copied is None:
        return
    period = passage.periods.at(wire.sent_ns)
    copied = np.zeros(wire.sent_ns.size, np.bool_)
    copied[wire.copied] = True
    for span in _spans(passage, lambda way: way.duplicate, start_ns):
        # Both the packet and its copy must come.
        thinning = _share_seen(passage, span, period, lambda way: (1 - _ratio(_loss(way))) ** 2)
        note = "" if thinning == 1 else "netem may lose a copy, too"
        found = _seen("duplication", span, copied[span.within(period)], thinning, note)
        if found is not None:
            yield found


def _corruption_seen(passage: Passage, start_ns: int | None) -> Iterator[Impairment]:
    """Of the packets that came those with a flipped bit in what is digested of them."""
    wire = passage.wire
    if wire.received_ns is None or wire.received_bytes is None or wire.corrupted is None:
        return
    period = passage.periods.at_arrival(wire.received_ns)
    seen = np.minimum(wire.received_bytes, DIGEST_BYTES) / np.maximum(wire.received_bytes, 1)
    for span in _spans(passage, lambda way: way.corrupt, start_ns):
        mine = span.within(period)
        share = float(seen[mine].mean()) if mine.any() else 1.0
        note = ""
        if share < 1:
            note = f"only flips in the first {DIGEST_BYTES} bytes show: {share:.0%} of all"
        found = _seen("corruption", span, wire.corrupted[mine], share, note)
        if found is not None:
            yield found


def _share_seen(
    passage: Passage, span: _Span, period: Numbers, share: Callable[[Direction], float]
) -> float:
    """The mean over the packets of a span of what the settings of each one's period leave."""
    mine = period[span.within(period)] - span.first
    if not mine.size:
        return 1.0
    shares = [share(one) for one in passage.periods.settings[span.first : span.last + 1]]
    return float(np.array(shares)[mine].mean())


def _ratio(rule: Loss | Pick | None) -> float:
    return 0.0 if rule is None else rule.mean_ratio
