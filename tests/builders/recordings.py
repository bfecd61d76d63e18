"""A recording of client - r1 - server, packet by packet, as a run would have left it.

Both links are relayed and take 1 ms each way; r1 passes a packet on after 10 us. A test says which
packets are sent, and what becomes of them where; all files follow from that."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from testbed.events import LAYERS
from testbed.events.link import (
    COPY,
    CORRUPTED,
    DIRECTIONS,
    FATES,
    GAVE_UP,
    OVERTAKEN,
    REASONS,
    RELAY_RECORD,
)
from testbed.recording.layout import Layout, create, create_partial, finish_partials
from testbed.recording.manifest import (
    AppliedChange,
    Clock,
    CpuShare,
    Direction,
    LinkRecord,
    Manifest,
    ProbeRecord,
    ProcessRecord,
    write_manifest,
)
from testbed.recording.segments import SegmentHeader, SegmentWriter
from testbed.scenario import Scenario
from testbed.scenario.impairments import Bernoulli
from tests.builders import netlink, pcapng
from tests.builders.exchanges import applications, segment
from tests.builders.frames import ethernet, ipv4
from tests.builders.recorded_network import ADDRESS, ENDS, HOPS, MAC, End, Place, Way, nodes
from tests.builders.recording_parts import DATA, LEGACY_RECORD, logged_at, numbered, snmp

MS = 1_000_000
US = 1_000
START = 5_000_000_000
"""CLOCK_MONOTONIC when the load starts."""
OFFSET = 1_700_000_000_000_000_000
"""CLOCK_REALTIME is so much ahead."""
DELAY = 1 * MS
TRANSIT = 10 * US
Fate = Literal["lost", "held", "overflow", "dropped"]
REASON_OF = {"held": "stopped", "overflow": "write_failed", "dropped": "queue_full"}


@dataclass
class Run:
    """What happened; `write` makes a recording of it."""

    capacity_bit_s: int | None = 10_000_000
    queue_packets: int | None = 50
    loss_ratio: float = 0.0
    """As configured, from the server to r1."""
    wire: Literal["relay", "kernel"] = "relay"
    """kernel: no logs, but counters of netem in the sandbox's own namespace."""
    late_ns: int = 20 * US
    """How late the relay is with each packet."""
    scenario: Scenario = field(default_factory=lambda: Scenario(topology="single_bottleneck"))
    captured: dict[str, list[tuple[int, str, bytes]]] = field(
        default_factory=lambda: {"client": [], "r1": [], "server": []}
    )
    logged: dict[str, list[tuple[int, ...]]] = field(
        default_factory=lambda: {"client-r1": [], "r1-server": []}
    )
    queue_drops: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    retransmitted: Counter[str] = field(default_factory=Counter)
    """Tcp.RetransSegs of each node at the end."""
    identification: int = 0
    drift_ns: int = 0
    """How much CLOCK_REALTIME gained between start and end."""
    settings: dict[Way, dict[str, Any]] = field(default_factory=dict)
    """Fields of a direction that differ from the defaults."""
    changes: list[AppliedChange] = field(default_factory=list)
    header_errors: Counter[str] = field(default_factory=Counter)
    """Ip.InHdrErrors of each node at the end."""
    checksum_errors: Counter[str] = field(default_factory=Counter)
    """Tcp.InErrs and InCsumErrors of each node at the end."""
    transit_ns: int = TRANSIT
    """How long r1 keeps a packet."""
    legacy_log: bool = False
    """Logs as version 0.1 wrote them."""

    def send(
        self,
        towards: End,
        t_ns: int,
        tcp: bytes,
        *,
        lost: Place | None = None,
        fate: Fate = "lost",
        reason: str = "bernoulli",
        extra_ns: int = 0,
        copied: Place | None = None,
        corrupted: Place | None = None,
        flip: int = 40,
        overtaken: Literal["", "yes", "no"] = "",
    ) -> None:
        """One packet from the other end, at START + `t_ns`.

        Args:
            towards: where to.
            t_ns: when.
            tcp: the segment.
            lost: where it does not go on; `fate` and `reason` say what the log calls it.
            fate: see `lost`.
            reason: see `lost`.
            extra_ns: how much longer it takes on the first wire.
            copied: the wire that makes a second one of it.
            corrupted: the wire that flips the last bit of its byte `flip`.
            flip: a byte of the frame: from 14 IPv4, from 34 TCP.
            overtaken: on the first wire it was chosen to be reordered, and was (not) overtaken.
        """
        self.identification += 1
        source: End = "client" if towards == "server" else "server"
        packet = ipv4(
            ADDRESS[source],
            ADDRESS[towards],
            6,
            tcp,
            identification=self.identification % 65536,
        )
        waiting = [(0, START + t_ns, packet, False)]
        while waiting:
            hop, now, packet, damaged = waiting.pop(0)
            way = HOPS[towards][hop]
            first = hop == 0
            flags = {"yes": OVERTAKEN, "no": GAVE_UP}.get(overtaken, 0) if first else 0
            out, came = self._cross(
                way,
                now,
                packet[:8] + bytes([64 - hop]) + packet[9:],
                extra_ns=extra_ns if first else 0,
                end=(way[0], fate, reason) if lost == way[0] else None,
                flip=flip if corrupted == way[0] else None,
                copied=copied == way[0],
                flags=flags,
            )
            damaged = damaged or corrupted == way[0]
            for arrived in came:
                if self._arrive(way[0], ENDS[way][2], towards, damaged=damaged, flip=flip):
                    if first and lost == "queue":
                        self.queue_drops["r1-eth1" if towards == "server" else "r1-eth0"] += 1
                    elif first:
                        waiting.append((1, arrived + self.transit_ns, out, damaged))

    def _cross(
        self,
        way: Way,
        now: int,
        packet: bytes,
        *,
        extra_ns: int,
        end: tuple[str, Fate, str] | None,
        flip: int | None,
        copied: bool,
        flags: int,
    ) -> tuple[bytes, list[int]]:
        """Over one wire: the packet as it comes out, and when each copy of it does."""
        sender, out, receiver, into = ENDS[way]
        frame = ethernet(MAC[out], MAC[into], 0x0800, packet)
        left = frame
        if flip is not None:
            left = frame[:flip] + bytes([frame[flip] ^ 1]) + frame[flip + 1 :]
            flags |= CORRUPTED
        self.captured[sender].append((now, out, frame))
        self.sent[out] += 1
        arrival, due = now + 5 * US, now + 5 * US + DELAY + extra_ns
        number = sum(r[7] == DIRECTIONS.index(way[1]) for r in self.logged[way[0]] if not r[10] & 1)
        fate, reason = ("delivered", "") if end is None else end[1:]
        came = []
        for place in range(1 + copied):
            departure = due + self.late_ns + place * US
            self.logged[way[0]].append(
                (
                    number,
                    arrival,
                    due,
                    departure if end is None else 0,
                    len(frame),
                    zlib.crc32(frame[:128]),
                    zlib.crc32(left[:128]),
                    DIRECTIONS.index(way[1]),
                    FATES.index(fate),
                    REASONS.index(REASON_OF.get(fate, reason)),
                    flags | COPY * place,
                )
            )
            if end is None:
                self.captured[receiver].append((departure + 5 * US, into, left))
                came.append(departure + 5 * US)
        return left[14:], came

    def _arrive(self, link: str, node: str, towards: End, *, damaged: bool, flip: int) -> bool:
        """Whether a node takes a packet, by its checksums."""
        if damaged and flip < 34:
            self.header_errors[node] += 1
            return False
        if damaged and node == towards:
            self.checksum_errors[node] += 1
        return True

    def write(self, root: Path, **changes: Any) -> Layout:
        """The recording; `changes` replace fields of the manifest."""
        layout = create(root)
        end = START + 1000 * MS
        for node, rows in self.captured.items():
            self._capture(layout, node, rows)
        for link, logged in self.logged.items() if self.wire == "relay" else ():
            records = sorted(numbered(logged), key=logged_at)
            array = np.array(records, dtype=np.dtype(RELAY_RECORD))
            fields = LEGACY_RECORD if self.legacy_log else RELAY_RECORD
            header = SegmentHeader(
                layout="records",
                source="link",
                process="relay",
                fields=fields,
                about={"link": link},
            )
            old = np.zeros(len(array), np.dtype(fields))
            for name, _ in fields:
                old[name] = array[name] if name != "pad" else 0
            segment(layout, f"link.{link}", header, [old.tobytes()])
        self._sampler(layout, end)
        applications(layout, START)
        finish_partials(layout)
        write_manifest(layout, msgspec.structs.replace(self.manifest(end), **changes))
        return layout

    def _capture(self, layout: Layout, node: str, rows: list[tuple[int, str, bytes]]) -> None:
        names = ["r1-eth0", "r1-eth1"] if node == "r1" else [f"{node}-eth0"]
        packets = []
        for t_ns, name, frame in sorted(rows, key=lambda row: row[0]):
            gained = self.drift_ns * (t_ns - START) // (1000 * MS)
            packets.append(pcapng.Packet(t_ns + OFFSET + gained, frame, names.index(name)))
        interfaces = [pcapng.Interface(name) for name in names]
        layout.capture(node).write_bytes(pcapng.pcapng(interfaces, packets))

    def _sampler(self, layout: Layout, end: int) -> None:
        kinds = ["inet_diag", "qdisc", "link_names", "snmp", "netstat", "dev"]
        nodes = ["client", "r1", "server"]
        header = SegmentHeader(
            layout="frames", source="sampler", process="sampler", kinds=kinds, nodes=nodes
        )
        interfaces = {"client": ["client-eth0"], "r1": ["r1-eth0", "r1-eth1"]}
        interfaces["server"] = ["server-eth0"]
        drops = Counter(self.queue_drops)
        if self.wire == "kernel":
            nodes.append("wires")
            interfaces["wires"] = ["w0a", "w0b", "w1a", "w1b"]
            for index, records in enumerate(self.logged.values()):
                for record in records:
                    drops[f"w{index}{'ba'[record[7]]}"] += record[8] == 1
            header = msgspec.structs.replace(header, nodes=nodes)
        writer = SegmentWriter(create_partial(layout.segment("sampler")), header)
        for node, names in interfaces.items():
            mapping = msgspec.json.encode({str(n + 2): name for n, name in enumerate(names)})
            writer.frame(START, START, mapping, kind=2, node=nodes.index(node))
        for now in (START - 10 * MS, end):
            for number, node in enumerate(nodes):
                reply = b"".join(
                    netlink.qdisc(
                        index + 2,
                        sent_packets=self.sent[name] if now == end else 0,
                        drops=drops[name] if now == end else 0,
                        kind="netem" if node == "wires" else "pfifo",
                    )
                    for index, name in enumerate(interfaces[node])
                )
                texts = {name: (DATA / f"{name}.txt").read_bytes() for name in kinds[3:]}
                replies = {"qdisc": reply + netlink.DONE}
                if node != "wires":
                    texts["snmp"] = snmp(
                        RetransSegs=self.retransmitted[node] * (now == end),
                        InHdrErrors=self.header_errors[node] * (now == end),
                        InErrs=self.checksum_errors[node] * (now == end),
                        InCsumErrors=self.checksum_errors[node] * (now == end),
                    )
                    replies |= {"inet_diag": (DATA / "inet_diag.bin").read_bytes(), **texts}
                for kind, payload in replies.items():
                    writer.frame(now, now + 20 * US, payload, kind=kinds.index(kind), node=number)
        writer.close()

    def manifest(self, end: int) -> Manifest:
        """The manifest of such a run."""
        counts: dict[str, int | str] = {"scheduler": "fifo"}
        for link, records in self.logged.items():
            for index, way in enumerate(("forward", "reverse")):
                mine = [record for record in records if record[7] == index]
                copies = sum(record[10] & COPY for record in mine)
                counts[f"{link}.{way}.arrived"] = len(mine) - copies
                counts[f"{link}.{way}.duplicated"] = copies
                counts[f"{link}.{way}.overflowed"] = sum(record[8] == 3 for record in mine)
        return Manifest(
            state="complete",
            testbed_version="0.1.0",
            versions={},
            kernel="6.18.0",
            cpus=2,
            started_utc="2026-11-22T12:00:00.000+00:00",
            scenario=self.scenario,
            seed=7,
            link_backend=self.wire,
            nodes=nodes(),
            links=[self._link("client-r1"), self._link("r1-server")],
            changes=self.changes,
            probes=[ProbeRecord(layer=name, observed=True) for name in LAYERS],
            processes=[
                ProcessRecord(name="relay", kind="relay", node="", about=counts),
                ProcessRecord(name="server", kind="server", node="server", exit_code=0),
            ],
            clock_start=Clock(at_monotonic_ns=START, offset_ns=OFFSET, uncertainty_ns=50),
            clock_end=Clock(
                at_monotonic_ns=end, offset_ns=OFFSET + self.drift_ns, uncertainty_ns=50
            ),
            load_started_ns=START,
            load_ended_ns=end,
            stolen_cpu_ratio=0.0,
            busy_cpu_ratio=0.2,
            cpu_shares={"server": CpuShare(ran_ns=MS, waited_ns=0)},
        )

    def _link(self, name: str) -> LinkRecord:
        return LinkRecord(
            name=name,
            wire=self.wire,
            bottleneck=name == "r1-server",
            forward=self.direction((name, "forward")),
            reverse=self.direction((name, "reverse")),
        )

    def direction(self, way: Way, **changes: Any) -> Direction:
        """A direction as it was built, with `changes`."""
        sender, out, receiver, into = ENDS[way]
        shaped = sender == "r1"
        loss = self.loss_ratio if sender == "server" else 0.0
        built = Direction(
            sender=sender,
            sender_interface=out,
            receiver=receiver,
            receiver_interface=into,
            bottleneck=shaped,
            capacity_bit_s=self.capacity_bit_s if shaped else None,
            queue_packets=self.queue_packets if shaped else None,
            delay_ns=DELAY,
            loss_ratio=loss,
            loss=Bernoulli(ratio=loss) if loss else None,
        )
        return msgspec.structs.replace(built, **(self.settings.get(way, {}) | changes))
