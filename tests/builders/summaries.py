"""A run of single_bottleneck as the report sees it: its manifest, summary and series."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import msgspec

from testbed.analysis.series import (
    ConnectionSeries,
    DelaySeries,
    LatencySeries,
    LossSeries,
    QueueSeries,
    Series,
    ThroughputSeries,
)
from testbed.analysis.summary import (
    DelayQuantiles,
    Http,
    Layer,
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

LAYERS: dict[str, Layer] = {
    "link": Layer(
        status="observed",
        loss={"sent_packets": 21_305, "lost_packets": 421, "lost_ratio": 421 / 21_305},
        reordering={
            "reordered_packets": 0,
            "reordered_ratio": 0.0,
            "reordering_extent_packets_max": 0,
        },
        backpressure={
            "peak_in_flight_packets": 92,
            "relay_late_ns_p50": 31_000,
            "relay_late_ns_p99": 84_000,
            "relay_late_ns_max": 911_000,
        },
    ),
    "nic": Layer(
        status="observed",
        loss={"rx_dropped_packets": 0, "tx_dropped_packets": 0},
        reordering=None,
        backpressure=None,
    ),
    "qdisc": Layer(
        status="observed",
        loss={"dropped_packets": 41},
        reordering={"reordered_packets": 0},
        backpressure={
            "peak_queue_packets": 50,
            "peak_queue_bytes": 75_700,
            "time_waiting_ns": 2_110 * MS,
            "overlimits": 11_820,
            "requeues": 0,
        },
    ),
    "ip": Layer(
        status="observed",
        loss={"in_discards_packets": 0, "out_no_routes_packets": 0},
        reordering=None,
        backpressure={"in_ce_packets": None},
    ),
    "tcp": Layer(
        status="observed",
        loss={
            "retransmitted_segments": 341,
            "retransmissions_explained_by_loss": 338,
            "spurious_retransmissions": 3,
            "unexplained_retransmissions": 0,
            "timeouts": 1,
        },
        reordering={"out_of_order_segments": 1_204, "duplicate_acks": 977, "sack_reorderings": 0},
        backpressure={
            "zero_window_segments": 0,
            "busy_ns": 4 * S,
            "receive_window_limited_ns": 0,
            "send_buffer_limited_ns": 14 * MS,
            "peak_not_sent_bytes": None,
        },
    ),
    "socket": Layer(
        status="observed",
        loss={"dropped_packets": 0, "accept_queue_overflows": 0},
        backpressure={
            "peak_receive_fill_ratio": 0.12,
            "peak_unread_bytes": 64_240,
            "peak_accept_queue_connections": 1,
        },
    ),
    "syscall": Layer(status="not observed", reason="switched off (--probes light)"),
    "event_loop": Layer(
        status="observed",
        backpressure={
            "longest_step_ns": 9 * MS,
            "longest_step_process": "server",
            "lag_ns_p50": 41_000,
            "lag_ns_p99": 2_310_000,
            "lag_ns_max": 9_020_000,
        },
    ),
    "asgi": Layer(
        status="observed",
        loss={"requests": 200, "disconnected_requests": 2, "failed_requests": 1},
        backpressure={
            "peak_in_flight_requests": 4,
            "send_wait_ns": 4_310 * MS,
            "send_wait_ns_p50": 20 * MS,
            "send_wait_ns_p99": 260 * MS,
        },
    ),
    "http": Layer(
        status="observed",
        loss={
            "requests": 200,
            "failed_requests": 3,
            "failures": {"ReadTimeout": 2, "HTTP 503": 1},
        },
        reordering={"overtaken_responses": 12},
        backpressure={
            "peak_in_flight_requests": 4,
            "pool_wait_ns_p50": 0,
            "pool_wait_ns_p99": 1_200_000,
        },
    ),
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


def series(requests: int = 200, *, all_failed: bool = False) -> Series:
    """Series of a load of 2.4 s; the same ones every time."""
    draw = random.Random(7)
    span_ns = 2_400 * MS
    starts = sorted(draw.randrange(span_ns) for _ in range(requests))
    latencies = [int(40 * MS * math.exp(draw.gauss(0.1, 0.4))) for _ in starts]
    failed = [all_failed or draw.random() < 0.015 for _ in starts]
    windows = list(range(0, span_ns, 100 * MS))
    samples = list(range(0, span_ns, 10 * MS))
    queue = [max(0, min(50, int(28 + 26 * math.sin(t / 2e8) + draw.gauss(0, 4)))) for t in samples]
    return Series(
        origin_ns=5 * S,
        duration_ns=span_ns,
        latency=[
            LatencySeries(
                process="client",
                node="client",
                t_ns=starts,
                latency_ns=latencies,
                failed=failed,
                request_id=[f"{number:032x}" for number in range(requests)],
            )
        ],
        throughput=[
            _throughput("client-r1", "forward", windows, 0.7e6, None, draw),
            _throughput("client-r1", "reverse", windows, 8.6e6, None, draw),
            _throughput("r1-server", "forward", windows, 0.7e6, 10_000_000, draw),
            _throughput("r1-server", "reverse", windows, 8.8e6, 10_000_000, draw),
        ],
        queues=[
            _queue("r1", "r1-eth1", samples, [value // 20 for value in queue], "forward"),
            _queue("server", "server-eth0", samples, queue, "reverse"),
        ],
        losses=[LossSeries(link="r1-server", direction="reverse", t_ns=starts[::9])],
        delays=[
            DelaySeries(
                link="r1-server",
                direction="reverse",
                window_ns=100 * MS,
                t_ns=windows,
                median_ns=[int(24e6 + 8e6 * math.sin(t / 2e8)) for t in windows],
                max_ns=[int(50e6 + 20e6 * math.sin(t / 2e8)) for t in windows],
                configured_delay_ns=20 * MS,
            )
        ],
        connections=[
            ConnectionSeries(
                node="server",
                local="10.0.1.1:8000",
                remote=f"10.0.0.1:{45_678 + number}",
                t_ns=samples,
                congestion_window_packets=[10 + (t // (40 * MS)) % (12 + number) for t in samples],
                in_flight_packets=[8 + (t // (40 * MS)) % 12 for t in samples],
                rtt_ns=[45 * MS for _ in samples],
                not_sent_bytes=[0 for _ in samples],
                receive_queue_bytes=[0 for _ in samples],
                send_queue_bytes=[14_480 for _ in samples],
            )
            for number in range(4)
        ],
    )


def _throughput(
    link: str, way: Any, windows: list[int], level: float, capacity: int | None, draw: random.Random
) -> ThroughputSeries:
    return ThroughputSeries(
        link=link,
        direction=way,
        window_ns=100 * MS,
        t_ns=windows,
        bit_s=[max(0.0, min(9.9e6, level * (1 + draw.gauss(0, 0.12)))) for _ in windows],
        capacity_bit_s=capacity,
        bottleneck=capacity is not None,
    )


def _queue(node: str, interface: str, t_ns: list[int], packets: list[int], way: Any) -> QueueSeries:
    return QueueSeries(
        node=node,
        interface=interface,
        kind="pfifo",
        handle="10:",
        t_ns=t_ns,
        packets=packets,
        bytes=[1514 * value for value in packets],
        limit_packets=50,
        limit_bytes=None,
        dropped_packets=[0 for _ in t_ns],
        link="r1-server",
        direction=way,
    )


def recording(root: Path, made: Manifest | None = None, seen: Summary | None = None) -> Layout:
    """A folder with a manifest and a summary in it, and nothing else."""
    layout = create(root)
    write_manifest(layout, made or manifest())
    write_atomically(layout.summary, msgspec.json.encode(seen or summary()))
    return layout
