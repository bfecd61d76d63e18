"""Time series of a run, for drawing: each with a bounded number of points.

All times are nanoseconds since `Series.origin_ns` (CLOCK_MONOTONIC), the moment the clients were
told to begin; what came before it (handshakes of the set-up) has negative times. Only
testbed.report scales them.

A list that is empty was not observed; `Series.missing` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

THROUGHPUT_WINDOW_NS: Final = 100_000_000
"""Width of a throughput window; widened in whole multiples where a run would need more than
MAX_POINTS."""
MAX_POINTS: Final = 2_000
"""Most points of one series; RFC-free choice: more than a screen has columns."""


@dataclass(frozen=True, slots=True)
class LatencySeries:
    """The requests of one client process, in the order of their intended starts."""

    process: str
    node: str
    t_ns: list[int]
    """Intended start."""
    latency_ns: list[int]
    """From the intended start to the last byte or the failure."""
    failed: list[bool]
    request_id: list[str]
    left_out: int = 0
    """Requests that were thinned out to stay within MAX_POINTS; failed and slowest ones are always
    kept."""


@dataclass(frozen=True, slots=True)
class ThroughputSeries:
    """What one direction of a link carried.

    As its receiver's capture saw it (else its sender's, else the relay).
    """

    link: str
    direction: Literal["forward", "reverse"]
    window_ns: int
    t_ns: list[int]
    """Start of each window; windows are adjacent, empty ones are there with 0."""
    bit_s: list[float]
    """Layer-2 bits, Ethernet header included."""
    capacity_bit_s: int | None
    """As configured; None: not shaped."""
    bottleneck: bool
    capacity_steps: list[tuple[int, int]] = field(default_factory=list)
    """From when on which capacity, where it changed while the run went on; else empty."""


@dataclass(frozen=True, slots=True)
class QueueSeries:
    """The length of one qdisc's queue as sampled.

    Of several samples in a bucket the longest is kept.
    """

    node: str
    interface: str
    kind: str
    """``pfifo``, ``htb`` ..."""
    handle: str
    t_ns: list[int]
    packets: list[int]
    bytes: list[int]
    limit_packets: int | None
    """As configured; None: not limited in packets, or not known."""
    limit_bytes: int | None
    dropped_packets: list[int]
    """Dropped since the first sample."""
    link: str | None
    """The link that this queue feeds, with `direction`."""
    direction: Literal["forward", "reverse"] | None


@dataclass(frozen=True, slots=True)
class LossSeries:
    """When packets were lost on the wire of one direction of a link."""

    link: str
    direction: Literal["forward", "reverse"]
    t_ns: list[int]
    """When each lost packet entered the wire."""
    left_out: int = 0
    """Losses beyond MAX_POINTS that are not in the list (evenly thinned)."""


@dataclass(frozen=True, slots=True)
class DelaySeries:
    """One-way delay over one direction of a link, capture to capture, per window."""

    link: str
    direction: Literal["forward", "reverse"]
    window_ns: int
    t_ns: list[int]
    """Start of each window that has packets."""
    median_ns: list[int]
    max_ns: list[int]
    configured_delay_ns: int


@dataclass(frozen=True, slots=True)
class ConnectionSeries:
    """TCP_INFO and socket memory of one connection at one end.

    As sampled (thinned evenly to MAX_POINTS).
    """

    node: str
    local: str
    """``10.0.0.1:45678``."""
    remote: str
    t_ns: list[int]
    congestion_window_packets: list[int]
    in_flight_packets: list[int]
    rtt_ns: list[int]
    not_sent_bytes: list[int | None]
    receive_queue_bytes: list[int | None]
    send_queue_bytes: list[int | None]


@dataclass(frozen=True, slots=True)
class ReceiveSeries:
    """How long received segments took from the device to the receive buffer of their socket."""

    start: str
    """The first step that was seen: ``netif_rx`` ..."""
    segments: int
    """How many there were."""
    duration_ns: list[int]
    """By size; of many at most MAX_POINTS, evenly spread."""


@dataclass(frozen=True, slots=True)
class PressureSeries:
    """How long something waited at one stop of the backpressure map, window by window."""

    layer: str
    node: str
    what: str
    unit: str
    """Of `amount`."""
    window_ns: int
    t_ns: list[int]
    """Start of each window; windows are adjacent."""
    waited_ratio: list[float]
    """Share of the window in which at least one waited."""
    amount: list[int]
    """The most that waited at once in it."""


@dataclass(frozen=True, slots=True)
class ChangeMark:
    """A change of a link's settings while the load ran."""

    t_ns: int
    link: str
    direction: Literal["forward", "reverse"]
    text: str
    """``capacity 2mbit``."""


@dataclass(frozen=True, slots=True)
class Series:
    """All series of a run."""

    origin_ns: int
    """CLOCK_MONOTONIC; t_ns 0."""
    duration_ns: int
    """From the origin to the end of the load, or to the last event of a run that did not get that
    far."""
    latency: list[LatencySeries] = field(default_factory=list)
    throughput: list[ThroughputSeries] = field(default_factory=list)
    queues: list[QueueSeries] = field(default_factory=list)
    losses: list[LossSeries] = field(default_factory=list)
    delays: list[DelaySeries] = field(default_factory=list)
    connections: list[ConnectionSeries] = field(default_factory=list)
    """At most 32, those that sent and received the most."""
    receives: list[ReceiveSeries] = field(default_factory=list)
    """One for each first step; empty without tracepoints."""
    pressure: list[PressureSeries] = field(default_factory=list)
    """Stops that waited, in the order of the way."""
    changes: list[ChangeMark] = field(default_factory=list)
    """By time; what was never changed has none, and no reason in `missing`."""
    missing: dict[str, str] = field(default_factory=dict)
    """Name of an empty list -> why nothing of it was observed."""


def build(root: Path) -> Series:
    """The series of the recording in `root`, from the tables that `analyse` wrote.

    Raises:
        RecordingError: `root` is no recording.
    """
    # Not at the top: the types above are for those who draw, and polars takes its time to import.
    from testbed.analysis.series_build import build_series

    return build_series(root)
