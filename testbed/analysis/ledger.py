"""The ledger: at each hop entered = left + dropped + held, packet for packet where they are known.

Rows ``<link> <direction>: ...``, as far as they were observed:

    relay                the relay's own count of arrivals = the fates in its log
    sender to relay      what the sender's capture saw leave = what the relay read
    relay to receiver    what the relay delivered = what the receiver's capture saw arrive
    wire                 sender's capture = receiver's capture + lost + held, the same packets
    queue to wire        packets that the qdisc sent = packets that the capture saw leave

and of the network:

    <node>: forwarding   taken in for others = sent on + dropped by its queues
    tcp: segments        sent by hosts = came to hosts + lost on wires + dropped in queues + held
    tcp: kernel to captures   the kernels' RetransSegs = retransmissions captured
    tcp: retransmissions each is explained by a loss or is spurious

A row is balanced when its difference is 0 and, where packets are known, they are the same packets.
A row with a side that was not observed has no difference and is neither.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from testbed.analysis.crossings import HostStreams, Passage, Transit, is_segment
from testbed.analysis.decode.link import DELIVERED, HELD, LOST
from testbed.analysis.evidence import Evidence
from testbed.analysis.matching import NONE, inverse
from testbed.analysis.metrics.tcp import Explained, explain
from testbed.analysis.summary import Ledger, LedgerRow

_ROOT: Final = "root"


def ledger(
    evidence: Evidence,
    passages: list[Passage],
    transits: list[Transit],
    hosts: list[HostStreams],
    why: Explained | None,
) -> Ledger:
    """All rows that the recording allows."""
    rows: list[LedgerRow] = []
    for passage in passages:
        rows += _relay(evidence, passage)
        rows += _wire(evidence, passage)
        rows += _queue(evidence, passage)
    rows += [_forwarding(evidence, transit) for transit in transits]
    if why is not None:
        rows += _tcp(passages, transits, hosts, why)
        rows += _kernel(evidence, hosts, why)
    return Ledger(balanced=all(row.balanced is not False for row in rows), rows=rows)


def row(
    what: str,
    entered: int | None,
    left: int | None,
    dropped: int | None,
    held: int | None,
    *,
    strangers: int = 0,
    note: str = "",
) -> LedgerRow:
    """One row.

    `strangers` are packets on one side that are not on the other: they unbalance it even at a
    difference of 0.
    """
    if entered is None or left is None or dropped is None or held is None:
        return LedgerRow(
            what=what,
            entered=entered,
            left=left,
            dropped=dropped,
            held=held,
            difference=None,
            balanced=None,
            note=note,
        )
    difference = entered - left - dropped - held
    if strangers:
        note = f"{strangers} packets are not the same on both sides" + (note and f"; {note}")
    return LedgerRow(
        what=what,
        entered=entered,
        left=left,
        dropped=dropped,
        held=held,
        difference=difference,
        balanced=difference == 0 and not strangers,
        note=note,
    )


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
    dropped = fates["lost"] + fates["overflow"]
    rows = [row(f"{label}: relay", counted, fates["delivered"], dropped, fates["held"], note=note)]
    if wire.to_relay is not None:
        unmatched = int((wire.to_relay == NONE).sum())
        unsent = int((inverse(wire.to_relay, len(records)) == NONE).sum())
        rows.append(
            row(
                f"{label}: sender to relay",
                wire.to_relay.size,
                len(records),
                0,
                0,
                strangers=unmatched + unsent,
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


def relay_count(evidence: Evidence, link: str, direction: str, what: str) -> int | None:
    """A count that the relay gave at its end (``arrived``, ``overflowed`` ...), or None."""
    for process in evidence.manifest.processes:
        found = process.about.get(f"{link}.{direction}.{what}")
        if process.kind == "relay" and isinstance(found, int):
            return found
    return None


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
    extra = came - int((~missing).sum())
    if passage.way.link.wire == "direct":
        return [row(what, sent, came, 0, 0, strangers=int(missing.sum()) + extra)]
    if passage.way.link.wire == "kernel":
        return [_netem(evidence, passage, what, sent, came, int(missing.sum()), extra)]
    if passage.records is None or wire.to_relay is None:
        note = f"{int(missing.sum())} packets did not come; without a log there is no telling why"
        return [row(what, sent, came, None, None, note=note)]
    fate = np.append(passage.records["fate"], 255)[wire.to_relay]
    lost, held = fate == LOST, fate == HELD
    # Packet for packet: those that did not come are those that the relay lost or held, and no
    # others.
    strangers = int((missing != (lost | held)).sum()) + extra
    note = "the packets that did not come are those in the relay's log" if not strangers else ""
    return [row(what, sent, came, int(lost.sum()), int(held.sum()), strangers=strangers, note=note)]


def _netem(
    evidence: Evidence,
    passage: Passage,
    what: str,
    sent: int,
    came: int,
    missing: int,
    extra: int,
) -> LedgerRow:
    """A wire without a log: netem counts what it dropped, not which; without loss none may be."""
    link, way = passage.way.link, passage.way
    if not way.settings.loss_ratio:
        return row(what, sent, came, 0, 0, strangers=missing + extra)
    names = [record.name for record in evidence.manifest.links]
    # The egress of the inner end that faces the receiver (testbed.network.kernel_wire).
    device = f"w{names.index(link.name)}{'b' if way.name == 'forward' else 'a'}"
    table = evidence.table("qdisc")
    drops = None
    if table is not None:
        mine = table.filter((pl.col("kind") == "netem") & (pl.col("interface") == device))
        drops = int(mine["dropped_packets"].max()) if mine.height else None  # type: ignore[arg-type]
    note = "dropped: netem's counter"
    if drops is None:
        note = f"{missing} packets did not come; netem's counter was not sampled"
    return row(what, sent, came, drops, 0, strangers=extra, note=note)


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
        & (pl.col("parent") == _ROOT)
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


def _forwarding(evidence: Evidence, transit: Transit) -> LedgerRow:
    dropped = root_drops(evidence, transit.node)
    strangers = 0 if dropped is None else abs(int(transit.dropped_t_ns.size) - dropped)
    return row(
        f"{transit.node}: forwarding",
        transit.entered,
        transit.left,
        dropped,
        0,
        strangers=strangers,
        note="dropped: the counters of its queues" if dropped is not None else "no qdisc samples",
    )


def root_drops(evidence: Evidence, node: str) -> int | None:
    """Packets that all queues of a node dropped; None where they were not sampled.

    A root qdisc counts its children's drops too (net/sched/sch_htb.c, htb_enqueue;
    qdisc_tree_reduce_backlog).
    """
    table = evidence.table("qdisc")
    if table is None:
        return None
    roots = table.filter((pl.col("node") == node) & (pl.col("parent") == _ROOT))
    if not roots.height:
        return None
    return int(
        roots.group_by("interface").agg(pl.col("dropped_packets").max())["dropped_packets"].sum()
    )


def explained(hosts: list[HostStreams]) -> Explained | None:
    """All hosts' retransmissions, explained; None where no host was captured."""
    if not hosts:
        return None
    parts = []
    for host in hosts:
        carries = host.sent.carries
        parts.append(explain(host.sent.take(carries), host.arrived[carries]))
    return Explained(
        retransmissions=sum(part.retransmissions for part in parts),
        explained_by_loss=sum(part.explained_by_loss for part in parts),
        spurious=sum(part.spurious for part in parts),
        unexplained=sum(part.unexplained for part in parts),
    )


def _tcp(
    passages: list[Passage],
    transits: list[Transit],
    hosts: list[HostStreams],
    found: Explained,
) -> list[LedgerRow]:
    rows = []
    observed = all((host.arrived >= 0).all() for host in hosts)
    whole = all(passage.lost is not None for passage in passages)
    if observed and whole:
        sent = sum(int(host.sent.row.size) for host in hosts)
        came = sum(int((host.arrived == 1).sum()) for host in hosts)
        lost, held = _tcp_fates(passages)
        queued = sum(transit.dropped_segments for transit in transits)
        note = f"dropped: {lost} on wires, {queued} in forwarding nodes"
        rows.append(row("tcp: segments", sent, came, lost + queued, held, note=note))
    seen = not found.unexplained
    note = "dropped: explained by a lost segment; left: spurious, the bytes had arrived"
    if not seen:
        note = f"of {found.unexplained} it was not observed whether the bytes had arrived"
    rows.append(
        row(
            "tcp: retransmissions",
            found.retransmissions,
            found.spurious if seen else None,
            found.explained_by_loss if seen else None,
            0,
            note=note,
        )
    )
    return rows


def _kernel(evidence: Evidence, hosts: list[HostStreams], found: Explained) -> list[LedgerRow]:
    """The kernels' count of retransmitted segments against those that left, as captured.

    Made only where every end host was captured at all its interfaces and none dropped packets in
    its own queue, before the capture.
    """
    counters = evidence.table("tcp_counters")
    ends = {name for name in evidence.topology.nodes if not evidence.topology.forwards(name)}
    whole = all(_captured_whole(evidence, name) for name in ends)
    if counters is None or not whole or {host.node for host in hosts} != ends:
        return []
    if any(root_drops(evidence, name) != 0 for name in ends):
        return []
    mine = counters.filter(
        (pl.col("counter") == "Tcp.RetransSegs") & pl.col("node").is_in(sorted(ends))
    ).sort("t_ns")
    if mine["node"].n_unique() != len(ends):
        return []
    counted = mine.group_by("node").agg(pl.col("value").last() - pl.col("value").first())
    kernel = int(counted["value"].sum())
    return [row("tcp: kernel to captures", kernel, found.retransmissions, 0, 0)]


def _captured_whole(evidence: Evidence, node: str) -> bool:
    capture = evidence.captures.get(node)
    if capture is None or not capture.whole:
        return False
    names = {interface.name for interface in capture.interfaces}
    return all(i.name in names for i in evidence.topology.nodes[node].interfaces)


def _tcp_fates(passages: list[Passage]) -> tuple[int, int]:
    """TCP packets (resets left out, as in streams) lost and held on all wires.

    Each can be lost only once.
    """
    lost_all = held_all = 0
    for passage in passages:
        if passage.sender is None or passage.sender_rows is None or passage.lost is None:
            continue
        tcp = is_segment(passage.sender.packets, passage.sender_rows)
        lost_all += int((passage.lost & tcp).sum())
        if passage.held is not None:
            held_all += int((passage.held & tcp).sum())
    return lost_all, held_all
