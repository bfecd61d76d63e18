"""The verdict of a recording: each check of `verdict` with this run's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from testbed.analysis import verdict as judge
from testbed.analysis import verdict_machine as machine
from testbed.analysis.crossings import Passage
from testbed.analysis.decode.link import DELIVERED, OVERFLOW
from testbed.analysis.found import Found
from testbed.analysis.journey.reading import WAKE_UP
from testbed.analysis.layers import lateness_ns
from testbed.analysis.ledger_rows import relay_count
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.intervals import covered_ns
from testbed.analysis.metrics.quantiles import quantiles
from testbed.analysis.metrics.throughput import PEAK_WINDOW_NS, peak_bit_s
from testbed.analysis.periods import UNSURE, Periods
from testbed.analysis.summary import (
    Http,
    JourneySummary,
    Ledger,
    LinkDirection,
    Quantiles,
    Reason,
    Verdict,
)
from testbed.analysis.transits import Transit
from testbed.recording.manifest import NO_LOAD, Direction

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Links = Mapping[str, Mapping[Literal["forward", "reverse"], LinkDirection]]
_Bounds = tuple[int | None, int]
"""Capacity and delay, which decide how late a packet may be."""


def judge_run(
    found: Found, ledger: Ledger, http: Http, links: Links, journeys: JourneySummary | None
) -> Verdict:
    """The verdict, all reasons in the order.

    Run, emulator, captures, ledger, load, machine, links.
    """
    return judge.verdict(_reasons(found, ledger, http, links, journeys))


def _reasons(
    found: Found, ledger: Ledger, http: Http, links: Links, journeys: JourneySummary | None
) -> Iterator[Reason]:
    manifest = found.evidence.manifest
    yield from judge.completeness(manifest.state, manifest.failure, found.evidence.damage)
    if not manifest.load_began:
        yield judge.not_made("load generator", NO_LOAD)
        return
    yield from _relay(found)
    yield from _delays(found)
    yield from _captures(found)
    if any(p.kind == "tracer" and "failure" not in p.about for p in manifest.processes):
        yield judge.trace_overruns(found.evidence.lost_trace_events)
    yield judge.balance(ledger)
    late = machine.load_generator(http.late_ns, manifest.scenario.load.peak_rate_per_s)
    if late is not None:
        yield late
    yield machine.stolen_cpu(manifest.stolen_cpu_ratio)
    yield from _cpu_wait(found)
    yield from _wake_ups(found, journeys)
    yield from _realised(found, links)
    yield from _capacities(found)
    yield from _queues(found)


def _cpu_wait(found: Found) -> Iterator[Reason]:
    manifest, http = found.evidence.manifest, found.table("http")
    if http is None or not http.height:
        return
    kinds: dict[str, list[int]] = {}
    for process in manifest.processes:
        share = manifest.cpu_shares.get(process.name)
        # What waits among the observers holds nobody up.
        if share is not None and process.kind in ("server", "load"):
            kinds.setdefault(process.kind, []).append(share.waited_ns)
    if not kinds:
        yield judge.not_made("CPU wait", "the kernel did not say how long processes waited")
        return
    waited_ns = sum(sum(waits) / len(waits) for waits in kinds.values())
    started, ended = (http[name].to_numpy() for name in ("started_ns", "ended_ns"))
    yield machine.cpu_wait(waited_ns, max(1, covered_ns(started, ended)))


def _wake_ups(found: Found, journeys: JourneySummary | None) -> Iterator[Reason]:
    """Only where captures tell when data came, and event loops when they looked for it."""
    tables = [found.table(name) for name in ("syscall", "event_loop")]
    if journeys is None or not found.evidence.captures or any(one is None for one in tables):
        return
    ratios = {
        at.quantile: sum(one.ratio for one in at.stages if one.stage == WAKE_UP)
        for at in journeys.why_slow
    }
    if ratios:
        yield machine.wake_ups(ratios)


def _relay(found: Found) -> Iterator[Reason]:
    relayed = [p for p in found.passages if p.way.link.wire == "relay"]
    if not relayed:
        return
    overflowed = never_read = 0
    for passage in relayed:
        name, direction = passage.way.link.name, passage.way.name
        counted = relay_count(found.evidence, name, direction, "overflowed") or 0
        never_read += relay_count(found.evidence, name, direction, "ring_dropped") or 0
        logged = 0
        if passage.records is not None:
            logged = int((passage.records["fate"] == OVERFLOW).sum())
        overflowed += max(counted, logged)
    yield judge.relay_overflow(overflowed + never_read)
    slowest = _slowest_bit_s(found)
    for passage in relayed:
        label, records = passage.way.ends, passage.records
        if records is None:
            yield judge.not_made("relay lateness", f"no log of {label}")
            continue
        done = records[records["fate"] == DELIVERED]
        period = passage.periods.at(done["arrival_ns"].astype(np.int64))
        parts = _by_bounds(passage.periods, period, lateness_ns(passage), slowest)
        yield from judge.worst(
            judge.relay_lateness(label, late, *bounds) for bounds, late in parts.items()
        )


def _by_bounds(
    periods: Periods, period: Int64, values: Int64, slowest: int | None
) -> dict[_Bounds, Quantiles]:
    """The quantiles of values of packets, by what bounds them when they came."""
    bounds = [(way.capacity_bit_s or slowest, way.delay_ns) for way in periods.settings]
    found = {}
    for one in dict.fromkeys(bounds):
        mine = np.isin(period, [place for place, other in enumerate(bounds) if other == one])
        spread = quantiles(values[mine])
        if spread is not None:
            found[one] = spread
    return found


def _delays(found: Found) -> Iterator[Reason]:
    slowest = _slowest_bit_s(found)
    for passage in found.passages:
        wire = passage.wire
        # Where an end was not captured there is nothing but the relay's own log, judged above.
        if passage.way.link.wire == "direct" or wire.sent_ns is None or wire.received_ns is None:
            continue
        if wire.to_receiver is None:
            continue
        came = np.flatnonzero(wire.to_receiver != NONE)
        took = wire.received_ns[wire.to_receiver[came]] - wire.sent_ns[came]
        period = passage.periods.at(wire.sent_ns[came])
        planned, known = _planned_ns(passage, came, period)
        parts = _by_bounds(passage.periods, period[known], (took - planned)[known], slowest)
        yield from judge.worst(
            judge.delay_error(passage.way.ends, error, *bounds) for bounds, error in parts.items()
        )


def _planned_ns(passage: Passage, came: Int64, period: Int64) -> tuple[Int64, Flags]:
    """How long packets were to take on the wire, and of which of them that is known.

    Args:
        passage: the direction.
        came: the packets, as rows at the sender.
        period: that of each.
    """
    wire, records = passage.wire, passage.records
    if wire.by_log and records is not None and wire.to_relay is not None:
        planned = (records["due_ns"] - records["arrival_ns"]).astype(np.int64)
        return planned[wire.to_relay[came]], np.ones(came.size, np.bool_)
    ways = passage.periods.settings
    most = np.array([way.delay_ns + _spread_ns(way) for way in ways], np.int64)
    bounded = np.array([_is_bounded(way) for way in ways], np.bool_)
    place = np.maximum(period, 0)
    return most[place], bounded[place] & (period != UNSURE)


def _spread_ns(way: Direction) -> int:
    return 0 if way.delay_variation is None else way.delay_variation.spread_ns


def _is_bounded(way: Direction) -> bool:
    """Whether the longest time that a packet may take is known from the settings alone."""
    varied = way.delay_variation is not None and way.delay_variation.distribution != "uniform"
    return not varied and way.trace is None and way.reorder is None


def _slowest_bit_s(found: Found) -> int | None:
    """The lowest capacity in the network, which spaces its packets; None: nothing is shaped."""
    highest = (passage.periods.highest_capacity_bit_s for passage in found.passages)
    return min((capacity for capacity in highest if capacity), default=None)


def _captures(found: Found) -> Iterator[Reason]:
    captures = list(found.evidence.captures.values())
    if not captures:
        why = found.evidence.missing.get("captures", "nothing was captured")
        yield judge.not_made("captures", why)
        return
    drops = [i.dropped_packets for capture in captures for i in capture.interfaces]
    known = [drop for drop in drops if drop is not None]
    total: int | None = sum(known)
    if len(known) < len(drops) and not total:
        total = None
    yield judge.capture_drops(total, sum(capture.packets.count for capture in captures))
    filled = [capture for capture in captures if capture.packets.count]
    if filled:
        longest = max(filled, key=lambda capture: int(capture.packets.size.max()))
        row = int(longest.packets.size.argmax())
        interface = longest.interfaces[int(longest.packets.interface[row])].name
        yield judge.packet_sizes(int(longest.packets.size[row]), interface)


def _realised(found: Found, links: Links) -> Iterator[Reason]:
    for passage in found.passages:
        seen = links[passage.way.link.name][passage.way.name].impairments
        for name in dict.fromkeys(one.impairment for one in seen):
            mine = (judge.realised(passage.way.ends, one) for one in seen if one.impairment == name)
            yield from judge.worst(reason for reason in mine if reason is not None)


def _capacities(found: Found) -> Iterator[Reason]:
    """Of directions whose capacity changed: what was built is read back when it is built."""
    for passage in found.passages:
        sent_ns, size = passage.wire.sent_ns, passage.wire.sent_bytes
        changed = len({way.capacity_bit_s for way in passage.periods.settings}) > 1
        if sent_ns is None or size is None or not changed:
            continue
        reasons = []
        for period in passage.periods.periods:
            capacity = period.settings.capacity_bit_s
            mine = (sent_ns >= period.shaped_ns) & (sent_ns < period.end_ns)
            peak = peak_bit_s(sent_ns[mine], size[mine])
            if capacity is None or period.settings.trace is not None or peak is None:
                continue
            reasons.append(judge.capacity(passage.way.ends, peak, capacity, PEAK_WINDOW_NS))
        yield from judge.worst(reasons)


def _queues(found: Found) -> Iterator[Reason]:
    for index, passage in enumerate(found.passages):
        ways = passage.periods.settings
        if any(way.trace for way in ways):
            continue  # its queue is on the wire, and in what the relay planned
        parts = [_waits(transit, index, passage.periods) for transit in found.transits]
        if not parts:
            continue
        waits, first, last = (np.concatenate(column) for column in zip(*parts, strict=True))
        reasons = []
        for start, end in sorted(set(zip(first.tolist(), last.tolist(), strict=True))):
            # Between a change and the end of the queue before it both settings count.
            span = ways[start : end + 1]
            capacity = min((way.capacity_bit_s or 0 for way in span), default=0)
            limits = [way.queue_packets for way in span if way.queue_packets is not None]
            spread = quantiles(waits[(first == start) & (last == end)])
            if spread is None or not capacity or len(limits) < len(span):
                continue
            label = passage.way.ends
            reasons.append(judge.drop_tail(label, spread, max(limits), capacity))
        yield from judge.worst(reasons)


def _waits(transit: Transit, index: int, periods: Periods) -> tuple[Int64, Int64, Int64]:
    """How long packets of one direction were in a node, and the periods at both ends of that."""
    mine = transit.way == index
    entered, left = transit.entered_ns[mine], transit.left_ns[mine]
    return left - entered, periods.during(entered), periods.during(left)
