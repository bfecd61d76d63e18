"""A recording of client - r1 - server, packet by packet, as a run would have left it.

Both links are relayed and take 1 ms each way; r1 passes a packet on after 10 us. A test says which
packets are sent, and which are lost where; captures, relay logs, samples and manifest follow from
that."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from testbed.events.link import RELAY_RECORD
from testbed.recording.layout import Layout, create, create_partial, finish_partials
from testbed.recording.manifest import (
    Clock,
    Direction,
    Interface,
    LinkRecord,
    Manifest,
    Node,
    ProbeRecord,
    ProcessRecord,
    write_manifest,
)
from testbed.recording.segments import SegmentHeader, SegmentWriter
from testbed.scenario import Scenario
from tests.builders import netlink, pcapng
from tests.builders.exchanges import applications, segment
from tests.builders.frames import ethernet, ipv4

DATA = Path(__file__).parent.parent / "data" / "netlink"
MS = 1_000_000
US = 1_000
START = 5_000_000_000
"""CLOCK_MONOTONIC when the load starts."""
OFFSET = 1_700_000_000_000_000_000
"""CLOCK_REALTIME is so much ahead."""
DELAY = 1 * MS
TRANSIT = 10 * US
LAYERS = ("link", "nic", "qdisc", "ip", "tcp", "socket", "event_loop", "asgi", "http")

End = Literal["client", "server"]
Place = Literal["client-r1", "r1-server", "queue"]
ADDRESS = {"client": "10.0.0.1", "server": "10.0.1.1"}
MAC = {
    "client-eth0": "02:00:00:00:01:01",
    "r1-eth0": "02:00:00:00:01:02",
    "r1-eth1": "02:00:00:00:02:01",
    "server-eth0": "02:00:00:00:02:02",
}
HOPS = {
    "server": [("client-r1", "forward"), ("r1-server", "forward")],
    "client": [("r1-server", "reverse"), ("client-r1", "reverse")],
}
ENDS = {
    ("client-r1", "forward"): ("client", "client-eth0", "r1", "r1-eth0"),
    ("client-r1", "reverse"): ("r1", "r1-eth0", "client", "client-eth0"),
    ("r1-server", "forward"): ("r1", "r1-eth1", "server", "server-eth0"),
    ("r1-server", "reverse"): ("server", "server-eth0", "r1", "r1-eth1"),
}


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

    def send(
        self,
        towards: End,
        t_ns: int,
        tcp: bytes,
        *,
        lost: Place | None = None,
        fate: Literal["lost", "held", "overflow"] = "lost",
        extra_ns: int = 0,
    ) -> None:
        """One packet from the other end, at START + `t_ns`; `extra_ns` more on the first wire."""
        self.identification += 1
        source: End = "client" if towards == "server" else "server"
        now = START + t_ns
        for hop, way in enumerate(HOPS[towards]):
            sender, out, receiver, into = ENDS[way]
            ip = ipv4(
                ADDRESS[source],
                ADDRESS[towards],
                6,
                tcp,
                identification=self.identification % 65536,
                ttl=64 - hop,
            )
            frame = ethernet(MAC[out], MAC[into], 0x0800, ip)
            self.captured[sender].append((now, out, frame))
            self.sent[out] += 1
            gone = lost == way[0]
            due = now + 5 * US + DELAY + (extra_ns if hop == 0 else 0)
            self._log(way, now + 5 * US, due, frame, fate if gone else "delivered")
            if gone:
                return
            now = due + self.late_ns + 5 * US
            self.captured[receiver].append((now, into, frame))
            now += TRANSIT
            if hop == 0 and lost == "queue":
                self.queue_drops["r1-eth1" if towards == "server" else "r1-eth0"] += 1
                return

    def _log(self, way: tuple[str, str], arrival: int, due: int, frame: bytes, fate: str) -> None:
        log = self.logged[way[0]]
        direction = ("forward", "reverse").index(way[1])
        number = sum(record[6] == direction for record in log)
        done = fate == "delivered"
        log.append(
            (
                number,
                arrival,
                due,
                due + self.late_ns if done else 0,
                len(frame),
                zlib.crc32(frame[:128]),
                direction,
                ("delivered", "lost", "held", "overflow").index(fate),
                {"delivered": 0, "lost": 1, "held": 2, "overflow": 3}[fate],
                0,
            )
        )

    def write(self, root: Path, **changes: Any) -> Layout:
        """The recording; `changes` replace fields of the manifest."""
        layout = create(root)
        end = START + 1000 * MS
        for node, rows in self.captured.items():
            self._capture(layout, node, rows)
        for link, records in self.logged.items() if self.wire == "relay" else ():
            header = SegmentHeader(
                layout="records",
                source="link",
                process="relay",
                fields=RELAY_RECORD,
                about={"link": link},
            )
            array = np.array(records, dtype=np.dtype(RELAY_RECORD))
            segment(layout, f"link.{link}", header, [array.tobytes()])
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
                    drops[f"w{index}{'ba'[record[6]]}"] += record[7] == 1
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
                    texts["snmp"] = snmp(self.retransmitted[node] if now == end else 0)
                    replies |= {"inet_diag": (DATA / "inet_diag.bin").read_bytes(), **texts}
                for kind, payload in replies.items():
                    writer.frame(now, now + 20 * US, payload, kind=kinds.index(kind), node=number)
        writer.close()

    def manifest(self, end: int) -> Manifest:
        """The manifest of such a run."""
        counts: dict[str, int | str] = {"scheduler": "fifo"}
        for link, records in self.logged.items():
            for index, way in enumerate(("forward", "reverse")):
                mine = [record for record in records if record[6] == index]
                counts[f"{link}.{way}.arrived"] = len(mine)
                counts[f"{link}.{way}.overflowed"] = sum(record[7] == 3 for record in mine)
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
            nodes=_nodes(),
            links=[self._link("client-r1"), self._link("r1-server")],
            probes=[ProbeRecord(layer=name, observed=True) for name in LAYERS]
            + [ProbeRecord(layer="syscall", observed=False, reason="needs root")],
            processes=[ProcessRecord(name="relay", kind="relay", node="", about=counts)],
            clock_start=Clock(at_monotonic_ns=START, offset_ns=OFFSET, uncertainty_ns=50),
            clock_end=Clock(
                at_monotonic_ns=end, offset_ns=OFFSET + self.drift_ns, uncertainty_ns=50
            ),
            load_started_ns=START,
            load_ended_ns=end,
            stolen_cpu_ratio=0.0,
            busy_cpu_ratio=0.2,
        )

    def _link(self, name: str) -> LinkRecord:
        return LinkRecord(
            name=name,
            wire=self.wire,
            bottleneck=name == "r1-server",
            forward=self._direction((name, "forward")),
            reverse=self._direction((name, "reverse")),
        )

    def _direction(self, way: tuple[str, str]) -> Direction:
        sender, out, receiver, into = ENDS[way]
        shaped = sender == "r1"
        return Direction(
            sender=sender,
            sender_interface=out,
            receiver=receiver,
            receiver_interface=into,
            bottleneck=shaped,
            capacity_bit_s=self.capacity_bit_s if shaped else None,
            queue_packets=self.queue_packets if shaped else None,
            delay_ns=DELAY,
            loss_ratio=self.loss_ratio if sender == "server" else 0.0,
        )


def _nodes() -> list[Node]:
    def interface(name: str, address: str) -> Interface:
        return Interface(name=name, mac=MAC[name], addresses=[address])

    return [
        Node(name="client", role="client", interfaces=[interface("client-eth0", "10.0.0.1/24")]),
        Node(
            name="r1",
            role="router",
            interfaces=[
                interface("r1-eth0", "10.0.0.254/24"),
                interface("r1-eth1", "10.0.1.254/24"),
            ],
        ),
        Node(name="server", role="server", interfaces=[interface("server-eth0", "10.0.1.1/24")]),
    ]


def snmp(retransmitted: int) -> bytes:
    """/proc/net/snmp of a kernel that sent so many segments again."""
    lines = (DATA / "snmp.txt").read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("Tcp: RtoAlgorithm"))
    values = lines[place + 1].split()
    values[lines[place].split().index("RetransSegs")] = str(retransmitted)
    lines[place + 1] = " ".join(values)
    return "\n".join([*lines, ""]).encode()
