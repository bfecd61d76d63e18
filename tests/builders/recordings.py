"""A recording of client - r1 - server, packet by packet, as a run would have left it.

Both links are relayed and take 1 ms each way; r1 passes a packet on after 10 us. A test says which
packets are sent, and which are lost where; captures, relay logs, samples and manifest follow from
that."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from testbed.events.asgi import AsgiExchange
from testbed.events.event_loop import LOOP_RECORD
from testbed.events.http import HttpExchange
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
        for link, records in self.logged.items():
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
        _applications(layout)
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
        writer = SegmentWriter(create_partial(layout.segment("sampler")), header)
        interfaces = {"client": ["client-eth0"], "r1": ["r1-eth0", "r1-eth1"]}
        interfaces["server"] = ["server-eth0"]
        for node, names in interfaces.items():
            mapping = msgspec.json.encode({str(n + 2): name for n, name in enumerate(names)})
            writer.frame(START, START, mapping, kind=2, node=nodes.index(node))
        for now in (START - 10 * MS, end):
            for number, node in enumerate(nodes):
                reply = b"".join(
                    netlink.qdisc(
                        index + 2,
                        sent_packets=self.sent[name] if now == end else 0,
                        drops=self.queue_drops[name] if now == end else 0,
                    )
                    for index, name in enumerate(interfaces[node])
                )
                texts = {name: (DATA / f"{name}.txt").read_bytes() for name in kinds[3:]}
                replies = {
                    "qdisc": reply + netlink.DONE,
                    "inet_diag": (DATA / "inet_diag.bin").read_bytes(),
                    **texts,
                }
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
            link_backend="relay",
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
            wire="relay",
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


def segment(layout: Layout, name: str, header: SegmentHeader, records: list[bytes]) -> None:
    """A segment of records, with its partial name."""
    writer = SegmentWriter(create_partial(layout.segment(name)), header)
    for record in records:
        writer.append(record)
    writer.close()


def _applications(layout: Layout) -> None:
    """23 requests, the last of which fails, and a step of each event loop per request."""
    http = SegmentHeader(
        layout="frames", source="http", process="client", kinds=["exchange"], nodes=["client"]
    )
    asgi = msgspec.structs.replace(http, source="asgi", process="server", nodes=["server"])
    writers = {
        name: SegmentWriter(create_partial(layout.segment(name)), header)
        for name, header in (("http.client", http), ("asgi.server", asgi))
    }
    steps = []
    for number in range(23):
        start = START + number * 10 * MS
        steps.append((start, start + 20 * US, start + 120 * US, 1, 2, 0, 0))
        exchange = http_exchange(number, start)
        writers["http.client"].frame(start, exchange.ended_ns, msgspec.json.encode(exchange))
        served = asgi_exchange(exchange)
        writers["asgi.server"].frame(start, served.ended_ns, msgspec.json.encode(served))
    for writer in writers.values():
        writer.close()
    header = SegmentHeader(
        layout="records",
        source="event_loop",
        process="server",
        fields=LOOP_RECORD,
        nodes=["server"],
    )
    array = np.array(steps, dtype=np.dtype(LOOP_RECORD))
    segment(layout, "event_loop.server", header, [array.tobytes()])


def http_exchange(number: int, start: int) -> HttpExchange:
    """Request `number`: 5 ms, over a connection that the first one opened; number 22 times out."""
    failed = number == 22
    names = ["send_request_headers", "send_request_body", "receive_response_headers"]
    trace = [("connection.connect_tcp.started", start + 100 * US)] if number == 0 else []
    trace += [("connection.connect_tcp.complete", start + 300 * US)] if number == 0 else []
    at = start + 400 * US
    for name in names:
        trace += [(f"http11.{name}.started", at), (f"http11.{name}.complete", at + 100 * US)]
        at += 1000 * US
    trace += [
        ("http11.receive_response_body.started", at),
        (f"http11.receive_response_body.{'failed' if failed else 'complete'}", start + 5 * MS),
    ]
    return HttpExchange(
        request_id=f"{number:032x}",
        number=number,
        user=0,
        method="GET",
        path="/",
        intended_ns=start - 50 * US,
        started_ns=start,
        headers_ns=start + 2500 * US,
        ended_ns=start + 5 * MS,
        status=200,
        failure="ReadTimeout" if failed else None,
        message="",
        http_version="HTTP/1.1",
        local_port=40000,
        remote_port=8000,
        new_connection=number == 0,
        request_bytes=0,
        response_bytes=1000,
        trace=trace,
    )


def asgi_exchange(of: HttpExchange) -> AsgiExchange:
    """The call that served a request: 1 ms, 300 us of it in two calls of send()."""
    start = of.started_ns + 1 * MS
    return AsgiExchange(
        request_id=of.request_id,
        method="GET",
        path="/",
        client_host="10.0.0.1",
        client_port=40000,
        started_ns=start,
        ended_ns=start + 1 * MS,
        status=200,
        exception=None,
        disconnected=False,
        calls=[
            ("send", start + 100 * US, start + 200 * US, 0),
            ("send", start + 300 * US, start + 500 * US, 1000),
        ],
    )


def truncate(path: Path, size: int) -> None:
    """Cuts a file."""
    os.truncate(path, size)
