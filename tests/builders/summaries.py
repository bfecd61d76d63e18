"""A run of single_bottleneck as the report sees it: its manifest, summary and series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from testbed.analysis.summary import (
    DelayQuantiles,
    Http,
    Ledger,
    LedgerRow,
    LinkDirection,
    Quantiles,
    Reason,
    Summary,
    Verdict,
)
from testbed.recording.layout import Layout, create, write_atomically
from testbed.recording.manifest import (
    Direction,
    Interface,
    LinkRecord,
    Manifest,
    Node,
    ProbeRecord,
    write_manifest,
)
from testbed.scenario import Link, Load, Scenario
from tests.builders.layer_figures import LAYERS

MS = 1_000_000
S = 1_000_000_000

SCENARIO = Scenario(
    topology="single_bottleneck",
    load=Load(users=4, requests=200),
    link=Link(capacity="10mbit", delay="20ms", loss="2%"),
    seed=7,
)


def http(**changes: Any) -> Http:
    """What the clients saw."""
    return msgspec.structs.replace(
        Http(
            requests=200,
            completed=197,
            failed=3,
            failures={"ReadTimeout": 2, "HTTP 503": 1},
            latency_ns=Quantiles(p50=41 * MS, p90=63_400_000, p99=287 * MS, max=1_043_000_000),
            request_rate_per_s=82.4,
            goodput_bit_s=4_713_200.0,
            late_ns=Quantiles(p50=12_000, p90=38_000, p99=141_000, max=310_000),
            connections=4,
        ),
        **changes,
    )


def direction(**changes: Any) -> LinkDirection:
    """One direction of the bottleneck."""
    return msgspec.structs.replace(
        LinkDirection(
            sent_packets=14_203,
            delivered_packets=13_920,
            lost_packets=283,
            duplicated_packets=0,
            corrupted_packets=0,
            reordered_packets=0,
            queue_dropped_packets=41,
            capacity_bit_s=10_000_000,
            one_way_delay_ns=DelayQuantiles(
                min=20_100_000, p50=24_300_000, p90=61 * MS, p99=78_100_000, max=79 * MS
            ),
            delay_variation_ns=Quantiles(p50=4_200_000, p90=41 * MS, p99=58 * MS, max=59 * MS),
            sent_bytes=18_400_000,
            peak_throughput_bit_s=9_870_000.0,
            peak_queue_packets=50,
            configured_delay_ns=20 * MS,
            configured_loss_ratio=0.02,
            realised_loss_ratio=283 / 14_203,
            loss_runs={"1": 270, "2": 5, "3": 1},
        ),
        **changes,
    )


def _plain(**changes: Any) -> LinkDirection:
    """One direction of a link that is no bottleneck."""
    return msgspec.structs.replace(
        direction(
            sent_packets=7_102,
            delivered_packets=7_102,
            lost_packets=0,
            queue_dropped_packets=0,
            capacity_bit_s=1_000_000_000,
            one_way_delay_ns=DelayQuantiles(
                min=8_000, p50=14_000, p90=30_000, p99=94_000, max=200_000
            ),
            delay_variation_ns=None,
            peak_throughput_bit_s=11_200_000.0,
            peak_queue_packets=1,
            configured_delay_ns=0,
            configured_loss_ratio=0.0,
            realised_loss_ratio=0.0,
            loss_runs={},
        ),
        **changes,
    )


LINKS: dict[str, Any] = {
    "client-r1": {"forward": _plain(), "reverse": _plain(sent_packets=13_879)},
    "r1-server": {
        "forward": direction(sent_packets=7_102, delivered_packets=6_964, lost_packets=138),
        "reverse": direction(),
    },
}

FAITHFUL = (
    Reason(
        check="relay lateness",
        status="faithful",
        message="99 % of packets left the wire within 84 µs of their due time (bound 1.21 ms).",
        value=84_000,
        bound=1_211_200,
        unit="ns",
    ),
    Reason(check="capture drops", status="faithful", message="The captures dropped no packet."),
    Reason(check="stolen CPU", status="faithful", message="The hypervisor took 0.1 % of the CPU."),
)
DEGRADED = Reason(
    check="load generator",
    status="degraded",
    message="1 % of requests started more than 141 µs late (bound 100 µs; invalid from 1 ms).",
)
INVALID = Reason(
    check="ledger",
    status="invalid",
    message="r1-server forward: 3 packets entered the relay and are in no capture.",
)


def verdict(status: str = "faithful") -> Verdict:
    """A verdict with the reasons for it."""
    more = {"faithful": (), "degraded": (DEGRADED,), "invalid": (INVALID, DEGRADED)}[status]
    return msgspec.convert(
        {"status": status, "reasons": [msgspec.to_builtins(one) for one in (*more, *FAITHFUL)]},
        Verdict,
    )


def ledger(*, balanced: bool = True) -> Ledger:
    """The equations of the bottleneck."""
    short = 0 if balanced else 3
    rows = [
        LedgerRow(
            what="r1-server forward: relay",
            entered=7_102,
            left=6_964 - short,
            dropped=138,
            held=0,
            difference=short,
            balanced=balanced,
        ),
        LedgerRow(
            what="r1-server reverse: relay",
            entered=14_203,
            left=13_920,
            dropped=283,
            held=0,
            difference=0,
            balanced=True,
        ),
        LedgerRow(
            what="r1-server reverse: qdisc",
            entered=None,
            left=14_203,
            dropped=41,
            held=0,
            difference=None,
            balanced=None,
            note="what entered is not counted by this kernel",
        ),
    ]
    return Ledger(balanced=balanced, rows=rows)


def summary(status: str = "faithful", **changes: Any) -> Summary:
    """The numbers of the run."""
    return msgspec.structs.replace(
        Summary(
            state="complete",
            verdict=verdict(status),
            scenario=msgspec.json.decode(msgspec.json.encode(SCENARIO)),
            seed=7,
            link_backend="relay",
            http=http(),
            links=LINKS,
            layers=LAYERS,
            ledger=ledger(balanced=status != "invalid"),
        ),
        **changes,
    )


def manifest(**changes: Any) -> Manifest:
    """What was built."""
    return msgspec.structs.replace(
        Manifest(
            state="complete",
            testbed_version="0.1.0",
            versions={
                "python": "3.11.7",
                "hypercorn": "0.18.0",
                "httpx": "0.28.1",
                "trio": "0.35.0",
            },
            kernel="6.18.5",
            cpus=2,
            started_utc="2026-11-22T15:30:00Z",
            command=[
                *("testbed", "run", "single_bottleneck", "--requests", "200", "--users", "4"),
                *("--capacity", "10mbit", "--delay", "20ms", "--loss", "2%", "--seed", "7"),
            ],
            scenario=SCENARIO,
            seed=7,
            link_backend="relay",
            nodes=[
                node("client", "client", 1),
                node("r1", "router", 2),
                node("server", "server", 1),
            ],
            links=[
                link("client", "r1", bottleneck=False),
                link("r1", "server", bottleneck=True),
            ],
            probes=[
                ProbeRecord(layer="link", observed=True, sources=["relay log", "dumpcap"]),
                ProbeRecord(layer="tcp", observed=True, sources=["inet_diag", "/proc/net/netstat"]),
                ProbeRecord(
                    layer="syscall",
                    observed=False,
                    reason="switched off (--probes light)",
                ),
            ],
            load_started_ns=5 * S,
            load_ended_ns=7_400_000_000,
            stolen_cpu_ratio=0.001,
            busy_cpu_ratio=0.41,
        ),
        **changes,
    )


def node(name: str, role: Any, interfaces: int) -> Node:
    """A node with `interfaces` interfaces."""
    return Node(
        name=name,
        role=role,
        interfaces=[
            Interface(name=f"{name}-eth{number}", mac=f"02:00:00:00:00:{number:02x}")
            for number in range(interfaces)
        ],
        congestion_control="cubic",
    )


def link(first: str, second: str, *, bottleneck: bool) -> LinkRecord:
    """A link between two nodes; shaped when it is the bottleneck."""
    settings: dict[str, Any] = (
        {"capacity_bit_s": 10_000_000, "queue_packets": 50, "delay_ns": 20 * MS, "loss_ratio": 0.02}
        if bottleneck
        else {}
    )

    def one(sender: str, receiver: str) -> Direction:
        return Direction(
            sender=sender,
            sender_interface=f"{sender}-eth0",
            receiver=receiver,
            receiver_interface=f"{receiver}-eth0",
            bottleneck=bottleneck,
            **settings,
        )

    return LinkRecord(
        name=f"{first}-{second}",
        wire="relay" if bottleneck else "direct",
        bottleneck=bottleneck,
        forward=one(first, second),
        reverse=one(second, first),
    )


def recording(root: Path, made: Manifest | None = None, seen: Summary | None = None) -> Layout:
    """A folder with a manifest and a summary in it, and nothing else."""
    layout = create(root)
    write_manifest(layout, made or manifest())
    write_atomically(layout.summary, msgspec.json.encode(seen or summary()))
    return layout
