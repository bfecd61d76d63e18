"""The ledger: at each hop entered + made = left + dropped + held, packet for packet where possible.

Rows ``<link> <direction>: ...``, as far as they were observed:

    relay                the relay's own count of arrivals and copies = the fates in its log
    sender to relay      what the sender's capture saw leave = what the relay read
    relay to receiver    what the relay delivered = what the receiver's capture saw arrive
    wire                 sender's capture + copies = receiver's capture + lost + held, the same ones
    reordering           packets overtaken by the log = by the captures, the same packets
    queue to wire        packets that the qdisc sent = packets that the capture saw leave

and of the network:

    <node>: forwarding   taken in for others = sent on + dropped by its queues or as damaged
    tcp: segments        sent by hosts + copies = came to hosts + lost, dropped, corrupted + held
    tcp: kernel to captures   the kernels' RetransSegs = retransmissions captured
    tcp: retransmissions each is explained by a loss or a corruption, or is spurious
    corrupted: dropped by checksum   corrupted packets that came = what IP and TCP counted

and above it:

    application to tcp: written bytes   = sent, each byte once + lost with a reset
    tcp to application: read bytes      came in order = read + left unread
    http: requests to the application   written = calls of it + failed before one

A row is balanced when its difference is 0 and, where packets are known, they are the same packets.
A row with a side that was not observed has no difference and is neither.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.crossings import Passage
from testbed.analysis.decode.link import DELIVERED, DROPPED, HELD, LOST
from testbed.analysis.evidence import Evidence
from testbed.analysis.found import Found
from testbed.analysis.ledger_application import application_rows
from testbed.analysis.ledger_rows import ROOT, relay_count, root_drops, row
from testbed.analysis.ledger_tcp import checksum_rows, tcp_rows
from testbed.analysis.matching import NONE, inverse
from testbed.analysis.metrics.reordering import reordered
from testbed.analysis.summary import Ledger, LedgerRow
from testbed.analysis.transits import Transit
from testbed.events.link import COPY

Flags = npt.NDArray[np.bool_]


def ledger(found: Found) -> Ledger:
    """All rows that the recording allows."""
    evidence = found.evidence
    rows: list[LedgerRow] = []
    for passage in found.passages:
        rows += _relay(evidence, passage)
        rows += _wire(evidence, passage)
        rows += _reordering(passage)
        rows += _queue(evidence, passage)
    rows += [_forwarding(found, transit) for transit in found.transits]
    rows += tcp_rows(found)
    rows += checksum_rows(found)
    rows += application_rows(found)
    return Ledger(balanced=all(row.balanced is not False for row in rows), rows=rows)


def _relay(evidence: Evidence, passage: Passage) -> list[LedgerRow]:
    link, direction, label = passage.way.link, passage.way.name, passage.way.label
    if link.wire != "relay":
        return []
    fates, records, wire = passage.fates(), passage.records, passage.wire
    if fates is None or records is None:
        why = evidence.missing.get(f"relay.{link.name}", "the relay's log was not read")
        return [row(f"{label}: relay", None, None, None, None, note=why)]
    counted = relay_count(evidence, link.name, direction, "arrived")
    note = "entered: the relay's own count"
    if counted is None:
        counted = int(records["number"].max()) + 1 if len(records) else 0
        note = "entered: the highest number in the log; the relay left no count of its own"
    if link.name in evidence.cut_logs:
        note += "; the log is cut"
    dropped = fates["lost"] + fates["overflow"] + fates["dropped"]
    made = relay_count(evidence, link.name, direction, "duplicated")
    rows = [
        row(
            f"{label}: relay",
            counted,
            fates["delivered"],
            dropped,
            fates["held"],
            made=fates["copies"] if made is None else made,
            note=note,
        )
    ]
    if wire.to_relay is not None:
        unmatched = int((wire.to_relay == NONE).sum())
        original = (records["flags"] & COPY) == 0
        unsent = int((inverse(wire.to_relay, len(records)) == NONE)[original].sum())
        never_read = relay_count(evidence, link.name, direction, "ring_dropped") or 0
        rows.append(
            row(
                f"{label}: sender to relay",
                wire.to_relay.size,
                len(records) - fates["copies"],
                never_read,
                0,
                strangers=max(0, unmatched - never_read) + unsent,
                note="dropped: by the TAP device's full ring" if never_read else "",
            )
        )
    if wire.relay_to_receiver is not None and wire.received_ns is not None:
        delivered = records["fate"] == DELIVERED
        unseen = int((wire.relay_to_receiver[delivered] == NONE).sum())
        came = int(wire.received_ns.size)
        extra = came - int((wire.relay_to_receiver != NONE).sum())
        rows.append(
            row(
                f"{label}: relay to receiver",
                fates["delivered"],
                came,
                0,
                0,
                strangers=unseen + extra,
            )
        )
    return rows


def _wire(evidence: Evidence, passage: Passage) -> list[LedgerRow]:
    wire, label = passage.wire, passage.way.label
    what = f"{label}: wire"
    if wire.sent_ns is None and wire.received_ns is None:
        return []
    sent = None if wire.sent_ns is None else int(wire.sent_ns.size)
    came = None if wire.received_ns is None else int(wire.received_ns.size)
    if wire.to_receiver is None or sent is None or came is None:
        return [row(what, sent, came, None, None, note="only one end was captured")]
    missing = wire.to_receiver == NONE
    extra = wire.strangers or 0
    if passage.way.link.wire == "direct":
        unlike = int(missing.sum()) + came - int((~missing).sum())
        return [row(what, sent, came, 0, 0, strangers=unlike)]
    if passage.way.link.wire == "kernel":
        return [_netem(evidence, passage, what)]
    if passage.records is None or wire.to_relay is None:
        note = f"{int(missing.sum())} packets did not come; without a log there is no telling why"
        return [row(what, sent, came, None, None, note=note)]
    records = passage.records
    fate = np.append(records["fate"], 255)[wire.to_relay]
    gone = (fate == LOST) | (fate == DROPPED)
    held = fate == HELD
    copies = (records["flags"] & COPY) != 0
    # Packet for packet: those that did not come are those that the relay lost, dropped or held, and
    # no others; every copy that it made came or is held.
    strangers = int((missing != (gone | held)).sum()) + extra
    if wire.relay_to_receiver is not None:
        unseen = copies & (records["fate"] == DELIVERED) & (wire.relay_to_receiver == NONE)
        strangers += int(unseen.sum())
    note = "the packets that did not come are those in the relay's log" if not strangers else ""
    kept = int(held.sum()) + int((copies & (records["fate"] == HELD)).sum())
    made = int(copies.sum())
    return [row(what, sent, came, int(gone.sum()), kept, made=made, strangers=strangers, note=note)]


def _netem(evidence: Evidence, passage: Passage, what: str) -> LedgerRow:
    """A wire without a log: netem counts what it dropped, not which, and no copies.

    What it was not asked to do it may not have done to any packet.
    """
    wire, settings = passage.wire, passage.periods.settings
    sent, came = _size(wire.sent_ns), _size(wire.received_ns)
    missing = 0 if wire.lost is None else int(wire.lost.sum())
    copies = 0 if wire.copy is None else int(wire.copy.sum())
    changed = 0 if wire.corrupted is None else int(wire.corrupted.sum())
    strangers = 0
    if not any(one.corrupt for one in settings):
        strangers += changed
    if not any(one.duplicate for one in settings):
        strangers += copies
    if not any(one.loss_ratio for one in settings):
        # What came corrupted without its packet being known is among the missing.
        short = max(0, missing - (wire.strangers or 0))
        return row(what, sent, came, 0, 0, made=copies, strangers=strangers + short)
    drops = _netem_drops(evidence, passage)
    if drops is None:
        note = f"{missing} packets did not come; netem's counter was not sampled"
        return row(what, sent, came, None, 0, made=copies, strangers=strangers, note=note)
    note = "dropped: netem's counter"
    made = copies
    if copies:
        # netem draws for a copy as for any packet, so that a copy can be lost: not seen, but
        # counted.
        made = min(max(came + drops - sent, copies), copies + drops)
        note += f"; made: {copies} copies came, {made - copies} were lost"
    return row(what, sent, came, drops, 0, made=made, strangers=strangers, note=note)


def _size(times: npt.NDArray[np.int64] | None) -> int:
    return 0 if times is None else int(times.size)


def _netem_drops(evidence: Evidence, passage: Passage) -> int | None:
    """What the netem of one direction dropped; None where it was not sampled."""
    names = [record.name for record in evidence.manifest.links]
    # The egress of the inner end that faces the receiver (testbed.network.kernel_wire).
    end = "b" if passage.way.name == "forward" else "a"
    device = f"w{names.index(passage.way.link.name)}{end}"
    table = evidence.table("qdisc")
    if table is None:
        return None
    mine = table.filter((pl.col("kind") == "netem") & (pl.col("interface") == device))
    return int(mine["dropped_packets"].max()) if mine.height else None  # type: ignore[arg-type]


def _reordering(passage: Passage) -> list[LedgerRow]:
    """Packets that were overtaken, by the order of departures and by that of the capture.

    RFC 4737, 3.3, by the numbers of the log, copies left out. Made only where there were any.
    """
    records, wire = passage.records, passage.wire
    if records is None or wire.relay_to_receiver is None or not wire.by_log:
        return []
    plain = ((records["flags"] & COPY) == 0) & (wire.relay_to_receiver != NONE)
    left = _overtaken(np.flatnonzero(plain), records["place"])
    came = _overtaken(np.flatnonzero(plain), wire.relay_to_receiver)
    if not left.size and not came.size:
        return []
    unlike = int(np.setxor1d(left, came, assume_unique=True).size)
    return [
        row(
            f"{passage.way.label}: reordering",
            int(left.size),
            int(came.size),
            0,
            0,
            strangers=unlike,
            note="entered: by the relay's log; left: by the captures",
        )
    ]


def _overtaken(rows: npt.NDArray[np.intp], when: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """Those rows of the log, which is by number, that come after a higher one in this order."""
    order = rows[np.argsort(when[rows], kind="stable")]
    return order[reordered(order.astype(np.int64))]


def _queue(evidence: Evidence, passage: Passage) -> list[LedgerRow]:
    """The root qdisc's count of sent packets between two samples against the capture's.

    Around a sample's request and answer it is open on which side a packet was counted: these
    packets are allowed for.
    """
    settings = passage.way.settings
    table, bounds = evidence.table("qdisc"), evidence.qdisc_bounds
    if table is None or bounds is None or passage.wire.sent_ns is None:
        return []
    mine = table.filter(
        (pl.col("node") == settings.sender)
        & (pl.col("interface") == settings.sender_interface)
        & (pl.col("parent") == ROOT)
        & (pl.col("kind") != "noqueue")
    )
    if mine.height < 2:
        return []
    ends = mine[[0, -1]].join(bounds, on=["node", "t_ns"], how="left", maintain_order="left")
    sent = int(mine["sent_packets"][-1] - mine["sent_packets"][0])
    first, last = ends.row(0, named=True), ends.row(-1, named=True)
    stamps = passage.wire.sent_ns
    surely = int(((stamps > first["ended_ns"]) & (stamps < last["started_ns"])).sum())
    perhaps = int(((stamps >= first["started_ns"]) & (stamps <= last["ended_ns"])).sum())
    captured = min(max(sent, surely), perhaps)
    note = "" if surely == perhaps else f"captured between {surely} and {perhaps} meanwhile"
    return [row(f"{passage.way.label}: queue to wire", sent, captured, 0, 0, note=note)]


def _forwarding(found: Found, transit: Transit) -> LedgerRow:
    what, stopped = f"{transit.node}: forwarding", int(transit.dropped_t_ns.size)
    dropped = root_drops(found.evidence, transit.node)
    if dropped is None:
        return row(what, transit.entered, transit.left, None, 0, note="no qdisc samples")
    note = "dropped: the counters of its queues"
    damaged = int(found.followed.damaged[transit.node][transit.dropped_row].sum())
    if damaged:
        # Whether a queue or a checksum dropped a damaged one is not known.
        by_checksum = min(max(stopped - dropped, 0), damaged)
        dropped += by_checksum
        note += f", and {by_checksum} that came damaged"
    return row(
        what, transit.entered, transit.left, dropped, 0, strangers=abs(stopped - dropped), note=note
    )
