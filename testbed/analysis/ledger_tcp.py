"""The ledger's rows of the network as a whole: TCP end to end, and checksums.

Rules:

- Each instance of a packet is counted by itself: a copy that a wire made enters the equation there,
  and whatever becomes of it later is one packet's fate.
- A corrupted segment comes to its host's interface and no further; here it is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.crossings import Passage
from testbed.analysis.decode.link import HELD
from testbed.analysis.evidence import Evidence, NodeCapture
from testbed.analysis.following import Followed
from testbed.analysis.found import Found
from testbed.analysis.hosts import HostStreams
from testbed.analysis.ledger_rows import root_drops, row
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import TCP
from testbed.analysis.metrics.tcp import Explained, explain
from testbed.analysis.summary import LedgerRow
from testbed.analysis.transits import Transit
from testbed.events.link import COPY
from testbed.units import NS_PER_MS

Flags = npt.NDArray[np.bool_]

_COUNTING_NS: Final = NS_PER_MS
"""From a packet's capture to its counter, and from a sample's stamp to its reading, at most."""


def explained(hosts: list[HostStreams]) -> Explained | None:
    """All hosts' retransmissions, explained; None where no host was captured."""
    if not hosts:
        return None
    parts = []
    for host in hosts:
        carries = host.sent.carries
        parts.append(
            explain(host.sent.take(carries), host.arrived[carries], host.overtaken[carries])
        )
    return Explained(
        retransmissions=sum(part.retransmissions for part in parts),
        explained_by_loss=sum(part.explained_by_loss for part in parts),
        spurious=sum(part.spurious for part in parts),
        unexplained=sum(part.unexplained for part in parts),
        explained_by_corruption=sum(part.explained_by_corruption for part in parts),
        spurious_by_reordering=sum(part.spurious_by_reordering for part in parts),
    )


def tcp_rows(found: Found) -> list[LedgerRow]:
    """Segments, retransmissions and what the kernels say of them."""
    why = found.retransmissions
    if why is None:
        return []
    rows = []
    observed = all((host.arrived >= 0).all() for host in found.hosts)
    whole = all(passage.lost is not None for passage in found.passages)
    if observed and whole:
        rows.append(_segments(found))
    rows.append(_retransmissions(why))
    rows += _kernel(found.evidence, found.hosts, why)
    return rows


def _retransmissions(why: Explained) -> LedgerRow:
    seen = not why.unexplained
    note = "dropped: explained by a lost segment; left: spurious, the bytes had arrived"
    if why.explained_by_corruption:
        note = (
            f"dropped: explained by {why.explained_by_loss} lost and "
            f"{why.explained_by_corruption} corrupted ones; left: spurious, the bytes had arrived"
        )
    if why.spurious_by_reordering:
        note += f" ({why.spurious_by_reordering} of them overtaken)"
    if not seen:
        note = f"of {why.unexplained} it was not observed whether the bytes had arrived"
    dropped = why.explained_by_loss + why.explained_by_corruption
    return row(
        "tcp: retransmissions",
        why.retransmissions,
        why.spurious if seen else None,
        dropped if seen else None,
        0,
        note=note,
    )


def _segments(found: Found) -> LedgerRow:
    what, followed = "tcp: segments", found.followed
    sent = sum(int(host.sent.row.size) for host in found.hosts)
    if any(_unidentified(passage) for passage in found.passages):
        note = "which packets were corrupted cannot be told for all of them"
        return row(what, sent, None, None, None, note=note)
    came = damaged = 0
    for host in found.hosts:
        mine = _came(found.evidence, followed, host)
        damaged += int((mine & followed.damaged[host.node]).sum())
        came += int((mine & ~followed.damaged[host.node]).sum())
    fates = [_fates(passage, followed) for passage in found.passages]
    lost, held = sum(fate.lost for fate in fates), sum(fate.held for fate in fates)
    queued = sum(_stopped(found, transit) for transit in found.transits)
    note = f"dropped: {lost} on wires, {queued} in forwarding nodes"
    if damaged:
        note += f", {damaged} by checksums of hosts"
    made = sum(fate.made for fate in fates)
    return row(what, sent, came, lost + queued + damaged, held, made=made, note=note)


def _unidentified(passage: Passage) -> bool:
    wire = passage.wire
    if wire.origin is None or wire.corrupted is None:
        return False
    return bool((wire.corrupted & (wire.origin == NONE)).any())


def _came(evidence: Evidence, followed: Followed, host: HostStreams) -> Flags:
    """Per packet of a host's capture whether it is a segment that a host sent to it."""
    capture = evidence.captures[host.node]
    known = evidence.topology.own_keys
    ends = [key for node in evidence.captures if not evidence.topology.forwards(node)
            for key in known.get(node, ())]  # fmt: skip
    sources = np.array(sorted(ends), np.uint64)
    own = np.array(sorted(known[host.node]), np.uint64)
    packets = capture.packets
    for_it = np.isin(packets.destination, own) & np.isin(packets.source, sources)
    came: Flags = (
        followed.segment[host.node] & ~capture.outgoing & (for_it | followed.damaged[host.node])
    )
    return came


@dataclass(frozen=True, slots=True)
class _Fates:
    """TCP segments of one direction of a wire."""

    lost: int
    held: int
    made: int


def _fates(passage: Passage, followed: Followed) -> _Fates:
    rows, wire = passage.sender_rows, passage.wire
    if rows is None or passage.lost is None:
        return _Fates(0, 0, 0)
    segment = followed.segment[passage.way.settings.sender][rows]
    lost = int((passage.lost & segment).sum())
    if passage.dropped is not None:
        lost += int((passage.dropped & segment).sum())
    held = 0 if passage.held is None else int((passage.held & segment).sum())
    made = 0
    if wire.copied is not None and wire.copied.size:
        of_segment = np.append(segment, False)[wire.copied]
        made = int(of_segment.sum())
        if wire.by_log and passage.records is not None:
            copies = passage.records[(passage.records["flags"] & COPY) != 0]
            held += int((of_segment & (copies["fate"] == HELD)).sum())
    return _Fates(lost, held, made)


def _stopped(found: Found, transit: Transit) -> int:
    """Segments that came to a forwarding node and did not leave it."""
    followed, node = found.followed, transit.node
    segment = followed.segment[node]
    stopped = int(segment[transit.dropped_row].sum())
    # Those that are so damaged that they look like nothing it would pass on.
    strange = segment & followed.damaged[node] & ~found.evidence.captures[node].outgoing
    strange[transit.dropped_row] = strange[transit.entered_row] = False
    return stopped + int(strange.sum())


def _kernel(evidence: Evidence, hosts: list[HostStreams], why: Explained) -> list[LedgerRow]:
    """The kernels' count of retransmitted segments against those that left, as captured.

    Made only where every end host was captured at all its interfaces and none dropped packets in
    its own queue, before the capture.
    """
    counters = evidence.table("tcp_counters")
    ends = _ends(evidence)
    whole = all(_captured_whole(evidence, name) for name in ends)
    if counters is None or not whole or {host.node for host in hosts} != ends:
        return []
    if any(root_drops(evidence, name) != 0 for name in ends):
        return []
    kernel = _increase(counters.filter(pl.col("counter") == "Tcp.RetransSegs"), "value", ends)
    return (
        []
        if kernel is None
        else [row("tcp: kernel to captures", kernel, why.retransmissions, 0, 0)]
    )


def _ends(evidence: Evidence) -> set[str]:
    return {name for name in evidence.topology.nodes if not evidence.topology.forwards(name)}


def _increase(table: pl.DataFrame, column: str, nodes: set[str]) -> int | None:
    """Last minus first value, summed over nodes; None where one of them has none."""
    mine = table.filter(pl.col("node").is_in(sorted(nodes))).drop_nulls(column).sort("t_ns")
    if mine["node"].n_unique() != len(nodes):
        return None
    grown = mine.group_by("node").agg(pl.col(column).last() - pl.col(column).first())
    return int(grown[column].sum())


def _captured_whole(evidence: Evidence, node: str) -> bool:
    capture = evidence.captures.get(node)
    if capture is None or not capture.whole:
        return False
    names = {interface.name for interface in capture.interfaces}
    return all(i.name in names for i in evidence.topology.nodes[node].interfaces)


def checksum_rows(found: Found) -> list[LedgerRow]:
    """Damaged packets that came to nodes that look at checksums against what these counted.

    A packet whose damage no checksum covers, or that was dropped before one was looked at, may be
    counted or not; these are allowed for.
    """
    evidence = found.evidence
    if not any(p.wire.corrupted is not None and p.wire.corrupted.any() for p in found.passages):
        return []
    what = "corrupted: dropped by checksum"
    ends = _ends(evidence)
    routers = {t.node for t in found.transits if evidence.topology.nodes[t.node].role == "router"}
    ip, tcp = evidence.table("ip"), evidence.table("tcp_counters")
    captured = all(_captured_whole(evidence, name) for name in ends)
    by_ip = None if ip is None else _increase(ip, "in_header_errors", ends | routers)
    by_tcp = in_errors = None
    if tcp is not None:
        by_tcp, in_errors = (
            _increase(tcp.filter(pl.col("counter") == name), "value", ends)
            for name in ("Tcp.InCsumErrors", "Tcp.InErrs")
        )
    if ip is None or by_ip is None or by_tcp is None or in_errors is None or not captured:
        return [row(what, None, None, None, 0, note="not all captures and counters are there")]
    exact = all(passage.way.link.wire != "kernel" for passage in found.passages)
    if not exact:
        # Without a log a flipped bit is known only where the captures, of headers, have it.
        note = "a bit that a wire of netem flips in a payload is in no capture"
        return [row(what, None, 0, by_ip + by_tcp, 0, note=note)]
    surely = perhaps = 0
    for node in sorted(ends | routers):
        capture = evidence.captures[node]
        damaged = found.followed.damaged[node] & ~capture.outgoing
        sure = damaged & (capture.packets.protocol == TCP) & ~capture.packets.overlong
        if node in routers:
            passed = next(t.entered_row for t in found.transits if t.node == node)
            damaged[passed] = False
            # The queue may have dropped a damaged one before any checksum was looked at.
            sure = damaged & (not root_drops(evidence, node)) & (capture.packets.source != 0)
        inner, outer = _sampled(capture, ip.filter(pl.col("node") == node)["t_ns"])
        surely += int((sure & inner).sum())
        perhaps += int((damaged & outer).sum())
    # InErrs has those with an impossible header length as well, which nobody counts by themselves,
    # but also SYNs that came again (net/ipv4/tcp_ipv4.c, tcp_v4_rcv; tcp_input.c,
    # tcp_validate_incoming).
    counted = by_ip + min(max(by_tcp, surely - by_ip), in_errors)
    entered = min(max(counted, surely), perhaps)
    note = f"dropped: {by_ip} by checksums of IP, {by_tcp} of TCP"
    if surely != perhaps:
        note += f"; {surely} to {perhaps} must be"
    return [row(what, entered, 0, counted, 0, note=note)]


def _sampled(capture: NodeCapture, t_ns: pl.Series) -> tuple[Flags, Flags]:
    """Packets that came between the first and the last sample, surely and perhaps."""
    stamps = capture.packets.t_ns
    first, last = int(t_ns.min()), int(t_ns.max())  # type: ignore[arg-type]
    inner = (stamps > first + _COUNTING_NS) & (stamps < last - _COUNTING_NS)
    outer = (stamps > first - _COUNTING_NS) & (stamps < last + _COUNTING_NS)
    return inner, outer
