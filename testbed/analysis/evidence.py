"""Everything that a recording holds, decoded as far as it can be.

Rules:

- Nothing here raises for a missing, cut or damaged part: what is missing has a reason in
  `Evidence.missing`, what is damaged a line in `Evidence.damage`, and every other part stands.
- All times are CLOCK_MONOTONIC nanoseconds, those of captures too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.captures import CaptureInterface, Packets, read_capture
from testbed.analysis.decode.counters import decode_ip, decode_nic, decode_tcp_counters
from testbed.analysis.decode.descriptors import decode_descriptors
from testbed.analysis.decode.event_loop import decode_event_loop
from testbed.analysis.decode.exchanges import asgi_tables, http_table, read_exchanges
from testbed.analysis.decode.link import link_records
from testbed.analysis.decode.qdisc import decode_link_names, decode_qdiscs
from testbed.analysis.decode.samples import Samples
from testbed.analysis.decode.sockets import decode_sockets
from testbed.analysis.decode.syscalls import decode_syscalls
from testbed.analysis.decode.tracepoints import decode_tracepoints
from testbed.analysis.threads import both, give_back_memory
from testbed.analysis.topology import Topology
from testbed.analysis.tracing.tables import TABLES as TRACE_TABLES
from testbed.analysis.tracing.tables import trace_tables
from testbed.errors import RecordingError
from testbed.events.asgi import AsgiExchange
from testbed.events.http import HttpExchange
from testbed.events.link import MARKER_ETHERTYPE
from testbed.recording.layout import PARTIAL, Layout
from testbed.recording.manifest import Clock, Manifest, Node
from testbed.recording.segments import Segment

Times = npt.NDArray[np.int64]
_Decoded = TypeVar("_Decoded")
_SAMPLED: Final = (
    "inet_diag",
    "qdisc",
    "link_names",
    "snmp",
    "netstat",
    "dev",
    "snmp6",
    "descriptors",
)
"""What frames a sampler's segment holds."""


@dataclass(frozen=True, slots=True)
class NodeCapture:
    """What one node captured."""

    node: str
    interfaces: list[CaptureInterface]
    packets: Packets
    outgoing: npt.NDArray[np.bool_]
    """Per packet whether it left the node."""
    whole: bool
    """The file was read to its end and its drop counts are there."""

    def rows(self, interface: str, *, outgoing: bool) -> npt.NDArray[np.intp] | None:
        """Rows of what left (or entered) through `interface`; None where it was not captured."""
        places = [i for i, known in enumerate(self.interfaces) if known.name == interface]
        if not places:
            return None
        return np.flatnonzero((self.packets.interface == places[0]) & (self.outgoing == outgoing))


@dataclass(slots=True)
class Evidence:
    """A recording, decoded."""

    manifest: Manifest
    topology: Topology
    captures: dict[str, NodeCapture] = field(default_factory=dict)
    """By node."""
    relay: dict[str, npt.NDArray[np.void]] = field(default_factory=dict)
    """By link, sorted by direction and number."""
    cut_logs: set[str] = field(default_factory=set)
    """Links whose log ends in the middle of a record."""
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    """nic qdisc ip tcp tcp_counters socket descriptors syscall connections event_loop asgi
    asgi_calls http kernel_events softirqs receive_path wake_ups; those that were seen."""
    lost_trace_events: int | None = None
    """Events that the rings of the tracepoints lost; None: not known, or nothing was traced."""
    qdisc_bounds: pl.DataFrame | None = None
    """node, t_ns, started_ns, ended_ns of each qdisc sample."""
    missing: dict[str, str] = field(default_factory=dict)
    """Table, or ``captures``, ``captures.<node>``, ``relay.<link>``, or a tracepoint
    (``skb:kfree_skb``) -> why it was not seen."""
    notes: list[str] = field(default_factory=list)
    """What is to be known about it although nothing is missing or damaged, in words."""
    damage: list[str] = field(default_factory=list)
    """What is cut or unreadable, in words."""

    def table(self, name: str) -> pl.DataFrame | None:
        """A table, or None where it was not seen."""
        return self.tables.get(name)


def load(layout: Layout, manifest: Manifest) -> Evidence:
    """Reads and decodes all parts of a recording."""
    topology = Topology(manifest)
    evidence, captured = Evidence(manifest, topology), Evidence(manifest, topology)
    both(lambda: _segments(layout, evidence), lambda: _captures(layout, captured))
    evidence.captures = captured.captures
    evidence.missing |= captured.missing
    evidence.damage[:0] = captured.damage
    give_back_memory()
    return evidence


def _segments(layout: Layout, evidence: Evidence) -> None:
    by_source: dict[str, list[Segment]] = {}
    for path in layout.segments():
        try:
            segment = Segment(path)
        except RecordingError as error:
            evidence.damage.append(str(error))
            continue
        if path.name.endswith(PARTIAL):
            evidence.damage.append(f"{path.name} was never finished")
        by_source.setdefault(segment.header.source, []).append(segment)
    _relay(by_source.get("link", []), evidence)
    _sampler(by_source.get("sampler", []), evidence)
    _syscalls(by_source.get("syscall", []), evidence)
    _event_loops(by_source.get("event_loop", []), evidence)
    _asgi(by_source.get("asgi", []), evidence)
    _http(by_source.get("http", []), evidence)
    _tracepoints(by_source.get("tracepoints", []), evidence)


def to_monotonic(t_ns: Times, start: Clock | None, end: Clock | None) -> Times:
    """CLOCK_REALTIME stamps as CLOCK_MONOTONIC, the offset interpolated between both readings."""
    first = start or end
    if first is None:
        return t_ns
    if start is None or end is None or end.at_monotonic_ns <= start.at_monotonic_ns:
        return t_ns - first.offset_ns
    gained = end.offset_ns - start.offset_ns
    roughly = t_ns - start.offset_ns
    # `roughly` runs at the speed of CLOCK_REALTIME: from start to end it counts what that gained
    # too.
    span = end.at_monotonic_ns - start.at_monotonic_ns + gained
    share = np.clip((roughly - start.at_monotonic_ns) / span, 0, 1) if span > 0 else 0.0
    moved: Times = roughly - np.rint(share * gained).astype(np.int64)
    return moved


def _captures(layout: Layout, evidence: Evidence) -> None:
    manifest = evidence.manifest
    for path in layout.captures():
        node = path.name.partition(".pcapng")[0]
        try:
            capture = read_capture(path)
        except RecordingError as error:
            evidence.damage.append(str(error))
            evidence.missing[f"captures.{node}"] = str(error)
            continue
        evidence.damage += capture.damage
        packets = capture.packets
        ours = np.flatnonzero(packets.ethertype == MARKER_ETHERTYPE)
        packets.drop(ours)
        packets.t_ns = to_monotonic(packets.t_ns, manifest.clock_start, manifest.clock_end)
        evidence.captures[node] = NodeCapture(
            node=node,
            interfaces=capture.interfaces,
            packets=packets,
            outgoing=evidence.topology.outgoing(
                node,
                [i.name for i in capture.interfaces],
                packets.interface,
                np.delete(capture.source_mac, ours),
            ),
            whole=not capture.damage
            and all(i.dropped_packets is not None for i in capture.interfaces),
        )
    if evidence.captures and manifest.clock_start is None and manifest.clock_end is None:
        evidence.damage.append(
            "the manifest has no clock offset: times of captures cannot be compared with others"
        )
    if not evidence.captures:
        evidence.missing["captures"] = "no capture in the recording"


def _relay(segments: list[Segment], evidence: Evidence) -> None:
    for segment in segments:
        link = segment.header.about.get("link", "")
        for records in _tried(segment, link_records, evidence):
            evidence.relay[link] = records
            if segment.cut_bytes:
                evidence.cut_logs.add(link)
    for record in evidence.manifest.links:
        if record.wire == "relay" and record.name not in evidence.relay:
            evidence.missing[f"relay.{record.name}"] = f"no log of {record.name} in the recording"


def _sampler(segments: list[Segment], evidence: Evidence) -> None:
    kinds: dict[str, Samples] = {name: Samples() for name in _SAMPLED}
    for segment in segments:
        try:
            for frame in segment.frames():
                if frame.kind in kinds:
                    kinds[frame.kind].add(frame)
        except RecordingError as error:
            evidence.damage.append(str(error))
        _note_cut(segment, evidence)
    tcp, socket = decode_sockets(kinds["inet_diag"])
    qdiscs = decode_qdiscs(kinds["qdisc"], decode_link_names(kinds["link_names"]))
    nodes = evidence.manifest.nodes
    found: Mapping[str, tuple[pl.DataFrame, Samples]] = {
        "tcp": (tcp, kinds["inet_diag"]),
        "socket": (socket, kinds["inet_diag"]),
        "qdisc": (without_neighbours(qdiscs, nodes), kinds["qdisc"]),
        "ip": (decode_ip(kinds["snmp"], kinds["netstat"], kinds["snmp6"]), kinds["snmp"]),
        "tcp_counters": (
            decode_tcp_counters(kinds["snmp"], kinds["netstat"]),
            kinds["netstat"],
        ),
        "nic": (without_neighbours(decode_nic(kinds["dev"]), nodes), kinds["dev"]),
    }
    why = "no sample in the recording" if segments else "no sampler segment in the recording"
    for name, (table, samples) in found.items():
        if samples.node:
            evidence.tables[name] = table
        else:
            evidence.missing[name] = why
    descriptors, unseen = decode_descriptors(kinds["descriptors"])
    if descriptors.height:
        evidence.tables["descriptors"] = descriptors
    else:
        evidence.missing["descriptors"] = unseen or why
    qdisc = kinds["qdisc"]
    evidence.qdisc_bounds = pl.DataFrame(
        {
            "node": pl.Series(qdisc.node, dtype=pl.String),
            "t_ns": qdisc.t_ns,
            "started_ns": pl.Series(qdisc.started_ns, dtype=pl.Int64),
            "ended_ns": pl.Series(qdisc.ended_ns, dtype=pl.Int64),
        }
    )


def without_neighbours(table: pl.DataFrame, nodes: Sequence[Node]) -> pl.DataFrame:
    """The samples of interfaces without those that belong to another node than the sampled one.

    Mininet's switches share a namespace, so that a sample of one has the interfaces of all.

    Args:
        table: with the columns `node` and `interface`.
        nodes: of the network; an interface named like a switch is the switch's own.
    """
    own = {(node.name, one.name) for node in nodes for one in node.interfaces}
    own |= {(node.name, node.name) for node in nodes}
    known = {interface for _, interface in own}
    seen = table.select("node", "interface").unique()
    foreign = [row not in own and row[1] in known for row in seen.iter_rows()]
    if not any(foreign):
        return table
    return table.join(seen.filter(foreign), on=seen.columns, how="anti", maintain_order="left")


def _event_loops(segments: list[Segment], evidence: Evidence) -> None:
    _collect("event_loop", segments, evidence, lambda s: {"event_loop": decode_event_loop(s)})


def _syscalls(segments: list[Segment], evidence: Evidence) -> None:
    def decode(segment: Segment) -> dict[str, pl.DataFrame]:
        found = decode_syscalls(segment)
        evidence.damage += found.damage
        return {"syscall": found.calls, "connections": found.connections}

    _collect("syscall", segments, evidence, decode)


def _asgi(segments: list[Segment], evidence: Evidence) -> None:
    def decode(segment: Segment) -> dict[str, pl.DataFrame]:
        exchanges, damaged = read_exchanges(segment, AsgiExchange)
        _note_damaged(segment, damaged, evidence)
        requests, calls = asgi_tables(segment, exchanges)
        return {"asgi": requests, "asgi_calls": calls}

    _collect("asgi", segments, evidence, decode)


def _http(segments: list[Segment], evidence: Evidence) -> None:
    def decode(segment: Segment) -> dict[str, pl.DataFrame]:
        exchanges, damaged = read_exchanges(segment, HttpExchange)
        _note_damaged(segment, damaged, evidence)
        return {"http": http_table(segment, exchanges)}

    _collect("http", segments, evidence, decode)


def _tracepoints(segments: list[Segment], evidence: Evidence) -> None:
    for segment in segments:
        for trace in _tried(segment, decode_tracepoints, evidence):
            evidence.damage += trace.damage
            evidence.lost_trace_events = trace.lost_events
            tables, notes = trace_tables(trace, evidence.manifest)
            evidence.tables |= tables
            evidence.notes += notes
            evidence.missing |= trace.missing
    for name in TRACE_TABLES:
        if name not in evidence.tables:
            evidence.missing[name] = "no tracepoints in the recording"


def _collect(
    name: str,
    segments: list[Segment],
    evidence: Evidence,
    decode: Callable[[Segment], dict[str, pl.DataFrame]],
) -> None:
    parts: dict[str, list[pl.DataFrame]] = {}
    for segment in segments:
        for tables in _tried(segment, decode, evidence):
            for table, rows in tables.items():
                parts.setdefault(table, []).append(rows)
    evidence.tables |= {table: pl.concat(found) for table, found in parts.items()}
    if not parts:
        evidence.missing[name] = f"no readable {name} segment in the recording"


def _tried(
    segment: Segment, decode: Callable[[Segment], _Decoded], evidence: Evidence
) -> Iterator[_Decoded]:
    """What `decode` makes of a segment, once; not at all where it is damaged."""
    try:
        yield decode(segment)
    except RecordingError as error:
        evidence.damage.append(str(error))
    _note_cut(segment, evidence)


def _note_cut(segment: Segment, evidence: Evidence) -> None:
    if segment.cut_bytes:
        evidence.damage.append(
            f"{segment.path.name} is cut: its last {segment.cut_bytes} bytes are no whole record"
        )


def _note_damaged(segment: Segment, frames: int, evidence: Evidence) -> None:
    if frames:
        evidence.damage.append(f"{segment.path.name}: {frames} frames hold no exchange")
