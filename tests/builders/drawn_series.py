"""Series of a run of single_bottleneck as the charts of a report draw them."""

from __future__ import annotations

import math
import random
from typing import Any

from testbed.analysis.series import (
    ConnectionSeries,
    DelaySeries,
    LatencySeries,
    LossSeries,
    QueueSeries,
    Series,
    ThroughputSeries,
)
from tests.builders.summaries import MS, S


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
