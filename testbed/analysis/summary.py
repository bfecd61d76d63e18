"""summary.json, format 1: the numbers of a run and its verdict.

The names are relied upon by people and checks (docs/reference/summary.md); adding is allowed,
renaming is not. None (null) means that it was not observed or does not exist; zero means that it
was observed to be zero.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

FORMAT = 1
NOT_CHECKED: Final = "not checked"
"""How the message of a check begins that could not be made."""


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Reason(_Part, frozen=True, kw_only=True):
    """One check of the emulation and how it came out."""

    check: str
    """Short name: ``relay lateness``."""
    status: Literal["faithful", "degraded", "invalid"]
    message: str
    """One sentence with the number and the bound."""
    value: float | None = None
    bound: float | None = None
    unit: str = ""


class Verdict(_Part, frozen=True, kw_only=True):
    """Whether the emulation can be trusted; the worst of its reasons."""

    status: Literal["faithful", "degraded", "invalid"]
    reasons: list[Reason]

    def __repr__(self) -> str:
        """The status and what speaks against the run, so that a failed assertion says why."""
        against = [f"{r.check}: {r.message}" for r in self.reasons if r.status != "faithful"]
        return f"<verdict {self.status}{': ' if against else ''}{'; '.join(against)}>"

    @property
    def faithful(self) -> bool:
        """Whether nothing speaks against the emulation."""
        return self.status == "faithful"


class Quantiles(_Part, frozen=True, kw_only=True):
    """Quantiles of a duration in ns (nearest rank: each is a value that occurred)."""

    p50: int
    p90: int
    p99: int
    max: int


class HttpKind(_Part, frozen=True, kw_only=True):
    """The requests of one kind in a mix."""

    kind: str
    """As it was written, its weight left out: ``POST /items body 2kB``."""
    weight_ratio: float
    """Its share of all weights."""
    requests: int
    completed: int
    failed: int
    latency_ns: Quantiles | None
    """Of completed requests, from the intended start."""


class Http(_Part, frozen=True, kw_only=True):
    """What the clients saw; counts are None where no client left a record.

    A request with retries is one: its outcome is that of its last attempt.
    """

    requests: int | None
    completed: int | None
    failed: int | None
    failures: dict[str, int]
    latency_ns: Quantiles | None
    """Of completed requests, from the intended start, over all attempts."""
    request_rate_per_s: float | None
    """Completed requests over the time from the first start to the last end."""
    goodput_bit_s: float | None
    """Response and request body bits over the same time."""
    late_ns: Quantiles | None = None
    """How late the load generator started requests."""
    connections: int | None = None
    served: dict[str, int] = {}
    """Requests that came to the application, their retries included, by the server's node."""
    attempts: int | None = None
    """Requests and their retries; None: no client left a record, or an earlier version did."""
    retried: dict[str, int] = {}
    """Outcomes of attempts after which another one followed."""
    mix: list[HttpKind] = []
    """Where the scenario has a mix, its kinds in that order."""


class DelayQuantiles(_Part, frozen=True, kw_only=True):
    """One-way delay from capture to capture, in ns."""

    p50: int
    p90: int
    p99: int
    max: int
    min: int


class CountQuantiles(_Part, frozen=True, kw_only=True):
    """Quantiles of a number of packets (nearest rank)."""

    p50: int
    p90: int
    p99: int
    max: int


NO_RULE: Final = "none"
"""The rule of an impairment that nothing asks for."""


class Impairment(_Part, frozen=True, kw_only=True):
    """What one direction of a wire was to do to packets, and what it did."""

    impairment: Literal["loss", "duplication", "corruption", "reordering", "outage"]
    rule: str
    """As it is written: ``gilbert-elliott p 1% r 25%``."""
    since_ns: int | None
    """When it came into force, from the start of the load; None: with the link."""
    packets: int
    """Those that it could have met."""
    count: int
    """Those that it met."""
    configured_ratio: float | None
    """In the long run; None for what does not go by a ratio."""
    realised_ratio: float | None
    low: float | None = None
    """Ratios from here ..."""
    high: float | None = None
    """... to here fit the count (LOSS_CONFIDENCE); None for an exact rule."""
    expected: int | None = None
    """Of an exact rule: how many of these packets it names."""
    holds: bool | None
    """The rule was kept: to the packet where it is exact, else within low and high; None: that
    could not be seen."""
    note: str = ""

    @property
    def unasked(self) -> bool:
        """No rule asks for it."""
        return self.rule == NO_RULE


class LinkDirection(_Part, frozen=True, kw_only=True):
    """One direction of a link."""

    sent_packets: int | None
    """Seen leaving the sending interface, after its qdisc."""
    delivered_packets: int | None
    """Seen arriving at the receiving interface, copies and corrupted ones included."""
    lost_packets: int | None
    """Sent and not delivered by the time the run ended."""
    duplicated_packets: int | None
    """Copies that arrived beyond the first of each packet (RFC 5560)."""
    corrupted_packets: int | None
    """Packets that arrived with a bit flipped, each once."""
    reordered_packets: int | None
    """RFC 4737, type-P-reordered, copies removed first."""
    queue_dropped_packets: int | None
    """By the queue before the wire, or on it where the capacity follows a trace."""
    capacity_bit_s: int | None
    """As configured; None: not shaped."""
    one_way_delay_ns: DelayQuantiles | None
    delay_variation_ns: Quantiles | None = None
    """PDV, D(i) - min D (RFC 5481)."""
    sent_bytes: int | None = None
    peak_throughput_bit_s: float | None = None
    """Highest 100 ms window."""
    peak_queue_packets: int | None = None
    configured_delay_ns: int | None = None
    configured_loss_ratio: float | None = None
    realised_loss_ratio: float | None = None
    loss_runs: dict[str, int] = {}
    """RFC 3357: length of a run of consecutive losses -> how often."""
    mean_loss_run_packets: float | None = None
    burst_ratio: float | None = None
    """ITU-T G.107: 1 where losses are independent."""
    duplicated_ratio: float | None = None
    """Copies over packets that arrived."""
    corrupted_ratio: float | None = None
    """Corrupted over packets that arrived."""
    reordered_ratio: float | None = None
    """RFC 4737, 4.1."""
    reordering_extent_packets: CountQuantiles | None = None
    """RFC 4737, 4.2, of reordered packets; None: there is none."""
    reordering_late_ns: Quantiles | None = None
    """Late-time offset of reordered packets (RFC 4737, 4.3)."""
    three_reordered_packets: int | None = None
    """RFC 4737, 5, n = 3."""
    planned_delay_ns: DelayQuantiles | None = None
    """What the relay meant packets to take: due - arrival in its log."""
    planned_variation_ns: DelayQuantiles | None = None
    """The same without the delay that was set; None: none was to vary."""
    impairments: list[Impairment] = []
    """What was asked for against what was done."""
    notes: list[str] = []
    """What could not be told for sure."""


class Layer(_Part, frozen=True, kw_only=True):
    """One layer; each figure has its unit in its name.

    In an observed layer an aspect that is null does not exist there, and a figure that is null was
    not observed.
    """

    status: Literal["observed", "not observed"]
    reason: str = ""
    loss: dict[str, Any] | None = None
    reordering: dict[str, Any] | None = None
    backpressure: dict[str, Any] | None = None


StopDirection = Literal["request", "response", "both"]


class Stop(_Part, frozen=True, kw_only=True):
    """One stop on the way from the client's await to the server's send(), and how long it waited.

    Metric by the template of RFC 6390, in docs/reference/backpressure.md.
    """

    layer: str
    node: str
    direction: StopDirection
    """Which messages wait here; both: an event loop does not tell them apart."""
    what: str
    """``pool``, ``receive buffer full``, ``queue r1 → client`` ..."""
    waited_ns: int
    """Time of the load in which at least one waited."""
    waited_ratio: float
    """The same over the duration of the load."""
    longest_ns: int
    """The longest single wait."""
    waits: int
    """How many there were."""
    peak_amount: int
    """The most that waited at once."""
    unit: str
    """Of `peak_amount`: requests, connections, tasks, packets or bytes."""


class Origin(_Part, frozen=True, kw_only=True):
    """Where the backpressure comes from."""

    layer: str
    node: str
    what: str


class Backpressure(_Part, frozen=True, kw_only=True):
    """Where messages waited, and what made them wait."""

    origin: Origin | None
    """None: there is no backpressure to speak of, or it was not observed."""
    sentence: str
    stops: list[Stop]
    """From the client's request to the server and back; one that was not observed is not there."""
    not_observed: list[str] = []
    """Sources that are missing, each with its reason."""


class LedgerRow(_Part, frozen=True, kw_only=True):
    """One equation of the ledger: entered + made = left + dropped + held."""

    what: str
    """``r1-server forward: relay``."""
    entered: int | None
    left: int | None
    dropped: int | None
    held: int | None
    difference: int | None
    """entered + made - left - dropped - held; None: a side was not observed."""
    balanced: bool | None
    note: str = ""
    made: int | None = 0
    """Copies that were made here."""


class Ledger(_Part, frozen=True, kw_only=True):
    """All rows; balanced when each observed row is."""

    balanced: bool
    rows: list[LedgerRow]


class JourneyStageShare(_Part, frozen=True, kw_only=True):
    """A stage's part in the latency of some requests."""

    stage: str
    layer: str
    """Empty for what is unexplained."""
    kind: str
    where: str
    """A node, or a way from node to node."""
    note: str
    part: str
    """start, connect, request, server or response."""
    mean_ns: int
    """Per request."""
    ratio: float
    """Of the sum of their latencies."""


class JourneysAtQuantile(_Part, frozen=True, kw_only=True):
    """The stages of the requests around a quantile of the latency."""

    quantile: str
    """p50, p90 or p99."""
    latency_ns: int
    requests: int
    """How many are around it."""
    stages: list[JourneyStageShare]
    """The largest first."""
    other_ratio: float
    """Of those that are too small to be in `stages`."""


class JourneySummary(_Part, frozen=True, kw_only=True):
    """Of the completed requests, stage by stage; see events/journeys.parquet."""

    requests: int
    explained_ratio: dict[str, float] | None
    """Share of a request's latency that is in stages somebody saw: p50, p1 and min over
    requests."""
    explained_requests_ratio: float | None
    """Requests of which at least 99 % are explained."""
    reason: str = ""
    """Why requests could not be followed through the network; then `why_slow` is empty."""
    why_slow: list[JourneysAtQuantile] = []
    sentence: str = ""
    """What most of p99 is."""


class Observing(_Part, frozen=True, kw_only=True):
    """What a probe took while the load ran."""

    probe: str
    """As in ``--probes``."""
    cpu_ns: int
    cpu_ratio: float
    """Of one CPU, while the load ran."""
    measured: bool
    """A process's own CPU time; else estimated: records, times what one costs."""


class Expectation(_Part, frozen=True, kw_only=True):
    """One expectation and whether it held."""

    expect: str
    holds: bool
    value: float | int | str | bool | None = None
    """What was seen; None: nothing was."""
    reason: str = ""
    """Why there is no value to compare, in words."""


class Summary(_Part, frozen=True, kw_only=True):
    """summary.json."""

    format: int = FORMAT
    state: str
    """complete, failed or interrupted; as in the manifest."""
    failure: str = ""
    verdict: Verdict
    scenario: dict[str, Any]
    """The scenario as resolved."""
    seed: int
    link_backend: Literal["relay", "kernel"]
    http: Http
    links: dict[str, dict[Literal["forward", "reverse"], LinkDirection]]
    layers: dict[str, Layer]
    ledger: Ledger
    backpressure: Backpressure | None = None
    """None only in summaries that an earlier version wrote."""
    journeys: JourneySummary | None = None
    observing: list[Observing] = []
    """What observing cost, the largest first."""
    expectations: list[Expectation] = []
    warnings: list[str] = []
