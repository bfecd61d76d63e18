"""The verdict of a recording: each check of `verdict` with this run's numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from testbed.analysis import verdict as judge
from testbed.analysis.decode.link import OVERFLOW
from testbed.analysis.found import Found
from testbed.analysis.layers import lateness_ns
from testbed.analysis.ledger_rows import relay_count
from testbed.analysis.links import sequence_of
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.quantiles import quantiles
from testbed.analysis.summary import Http, Ledger, Reason, Verdict


def judge_run(found: Found, ledger: Ledger, http: Http) -> Verdict:
    """The verdict, all reasons in the order.

    Run, emulator, captures, ledger, load, machine, links.
    """
    return judge.verdict(_reasons(found, ledger, http))


def _reasons(found: Found, ledger: Ledger, http: Http) -> Iterator[Reason]:
    manifest = found.evidence.manifest
    yield from judge.completeness(manifest.state, manifest.failure, found.evidence.damage)
    yield from _relay(found)
    yield from _delays(found)
    yield from _captures(found)
    yield judge.balance(ledger)
    late = judge.load_generator(http.late_ns, manifest.scenario.load.rate_per_s)
    if late is not None:
        yield late
    yield judge.stolen_cpu(manifest.stolen_cpu_ratio)
    yield from _loss(found)
    yield from _queues(found)


def _relay(found: Found) -> Iterator[Reason]:
    relayed = [p for p in found.passages if p.way.link.wire == "relay"]
    if not relayed:
        return
    overflowed = 0
    for passage in relayed:
        name, direction = passage.way.link.name, passage.way.name
        counted = relay_count(found.evidence, name, direction, "overflowed") or 0
        logged = 0
        if passage.records is not None:
            logged = int((passage.records["fate"] == OVERFLOW).sum())
        overflowed += max(counted, logged)
    yield judge.relay_overflow(overflowed)
    slowest = _slowest_bit_s(found)
    for passage in relayed:
        settings = passage.way.settings
        late = quantiles(lateness_ns(passage))
        if passage.records is None:
            yield judge.not_made("relay lateness", f"no log of {passage.way.label}")
        elif late is not None:
            capacity = settings.capacity_bit_s or slowest
            yield judge.relay_lateness(passage.way.label, late, capacity, settings.delay_ns)


def _delays(found: Found) -> Iterator[Reason]:
    slowest = _slowest_bit_s(found)
    for passage in found.passages:
        wire, settings = passage.wire, passage.way.settings
        # Where an end was not captured there is nothing but the relay's own log, judged above.
        if passage.way.link.wire == "direct" or wire.sent_ns is None or wire.received_ns is None:
            continue
        sequence = sequence_of(passage)
        if sequence is None:
            continue
        arrived = sequence.partner != NONE
        delays = sequence.received_ns[sequence.partner[arrived]] - sequence.sent_ns[arrived]
        error = quantiles(delays - settings.delay_ns)
        if error is not None:
            capacity = settings.capacity_bit_s or slowest
            yield judge.delay_error(passage.way.label, error, capacity, settings.delay_ns)


def _slowest_bit_s(found: Found) -> int | None:
    """The lowest capacity in the network, which spaces its packets; None: nothing is shaped."""
    ways = found.evidence.topology.ways
    return min((w.settings.capacity_bit_s for w in ways if w.settings.capacity_bit_s), default=None)


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


def _loss(found: Found) -> Iterator[Reason]:
    for passage in found.passages:
        sequence = sequence_of(passage)
        if sequence is None or passage.way.link.wire == "direct":
            continue
        sent, lost = int(sequence.sent_ns.size), int(sequence.lost.sum())
        configured = passage.way.settings.loss_ratio
        if configured == 0 and lost == 0:
            continue
        reason = judge.realised_loss(passage.way.label, lost, sent, configured)
        if reason is not None:
            yield reason


def _queues(found: Found) -> Iterator[Reason]:
    ways = list(found.evidence.topology.ways)
    for index, way in enumerate(ways):
        settings = way.settings
        if settings.capacity_bit_s is None or settings.queue_packets is None:
            continue
        waits = [
            (transit.left_ns - transit.entered_ns)[transit.way == index]
            for transit in found.transits
        ]
        spread = quantiles(np.concatenate(waits)) if waits else None
        if spread is not None:
            yield judge.drop_tail(
                way.label, spread, settings.queue_packets, settings.capacity_bit_s
            )
