"""What a calibration holds; stored as JSON (`testbed.calibration.store`)."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

FORMAT: Final = 1
BackendName: TypeAlias = Literal["relay", "kernel"]
BACKENDS: Final[tuple[BackendName, ...]] = ("relay", "kernel")
UserKind: TypeAlias = Literal["root", "ordinary"]


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Spread(_Record, frozen=True, kw_only=True):
    """Quantiles by nearest rank, in nanoseconds."""

    count: int
    p50_ns: int
    p99_ns: int
    max_ns: int


class Circumstances(_Record, frozen=True, kw_only=True):
    """What else the machine did while something was measured."""

    duration_ns: int
    stolen_cpu_ratio: float | None = None
    """Share of all CPU time that the hypervisor took (/proc/stat); None: shorter than a tick."""
    busy_cpu_ratio: float | None = None
    """Share of all CPU time that was in use."""
    relay_cpu_ratio: float | None = None
    """Share of one CPU that the relay used; None without a relay."""
    relay_lateness: Spread | None = None
    """Departure minus due time of every packet on the relay's wires."""
    relay_overflow_packets: int = 0
    """Packets that the relay could not write, or that found the ring before it full."""


class DelayMeasure(_Record, frozen=True, kw_only=True):
    """One-way delay beyond the delay set, from stamp to stamp of the kernel."""

    delay_ns: int
    """As it was set."""
    capacity_bit_s: int
    loaded: bool
    """An HTTP load ran beside it, observed like that of a run."""
    error: Spread


class LoadBeside(_Record, frozen=True, kw_only=True):
    """The HTTP load that ran beside the delays."""

    completed_requests: int
    failed_requests: int
    requests_per_s: float


class RateMeasure(_Record, frozen=True, kw_only=True):
    """What came through a capacity from a sender that always had more."""

    capacity_bit_s: int
    packets: int
    """Full frames that came to the receiver in the time that counts."""
    long_run_error_ratio: float
    """Rate from the first of them to the last, over the capacity, minus 1."""
    window_ns: int
    windows: int
    window_error_p50_ratio: float
    """Of the errors' sizes, whatever their sign."""
    window_error_max_ratio: float
    capture_missed_packets: int
    """What the capture at the receiver dropped; they lack in the rate."""
    sender_ran_dry: int
    """How often the sender came so late to its turn that nothing was waiting: what lacks then is
    the sender's fault and not the link's."""
    circumstances: Circumstances


class LossMeasure(_Record, frozen=True, kw_only=True):
    """Packets lost where a share of them was to be lost."""

    loss_ratio: float
    """As it was set."""
    sent_packets: int
    lost_packets: int
    confidence: float
    low_ratio: float
    """The exact interval of ratios that this count does not refute."""
    high_ratio: float
    circumstances: Circumstances

    @property
    def fits(self) -> bool:
        """Whether the ratio that was set lies in the interval."""
        return self.low_ratio <= self.loss_ratio <= self.high_ratio


class CarriedMeasure(_Record, frozen=True, kw_only=True):
    """Full frames that came through a wire without a capacity, from a sender that never waits."""

    packets_per_s: float
    packets: int
    circumstances: Circumstances


class TcpMeasure(_Record, frozen=True, kw_only=True):
    """One TCP connection through a wire without a capacity (iperf3)."""

    goodput_bit_s: float
    """At the receiver."""
    retransmits: int
    circumstances: Circumstances


class Limits(_Record, frozen=True, kw_only=True):
    """What this backend does faithfully on this machine; the rules are in `limits`."""

    delay_error_p50_ns: int
    """Worst of the delays that were measured, with the load beside it."""
    delay_error_p99_ns: int
    lateness_p99_ns: int | None
    """Of the relay, with the load beside it."""
    capacity_by_time_bit_s: int
    """Where this error in time is half of what one full frame takes."""
    capacity_by_rate_bit_s: int
    """Highest capacity that was measured and kept, with all below it; 0: not even the lowest."""
    packets_per_s: float | None
    """Most full frames that were carried in all, by `carried` or by TCP; None: not measured."""

    @property
    def capacity_bit_s(self) -> int:
        """Up to which capacity links are faithful; 0: not even the lowest one measured."""
        return min(self.capacity_by_time_bit_s, self.capacity_by_rate_bit_s)


class Backend(_Record, frozen=True, kw_only=True):
    """What was measured of one backend."""

    name: BackendName
    measured: bool
    reason: str = ""
    """Why not."""
    scheduler: str | None = None
    """The relay's: ``fifo`` under SCHED_FIFO, else ``other``."""
    relay_cpu: int | None = None
    """A CPU that was kept free for it."""
    delays: list[DelayMeasure] = []
    idle: Circumstances | None = None
    """While the delays were measured without a load."""
    loaded: Circumstances | None = None
    """While the load ran beside them."""
    load: LoadBeside | None = None
    rates: list[RateMeasure] = []
    loss: LossMeasure | None = None
    carried: CarriedMeasure | None = None
    tcp: TcpMeasure | None = None
    tcp_reason: str = ""
    """Why TCP was not measured."""
    limits: Limits | None = None


class Machine(_Record, frozen=True, kw_only=True):
    """What a calibration depends on."""

    kernel: str
    """Its release."""
    cpus: int
    cpu_model: str
    user: UserKind
    """Only root has the real-time scheduler."""


class Calibration(_Record, frozen=True, kw_only=True):
    """calibration.json."""

    format: int = FORMAT
    testbed_version: str
    measured_utc: str
    """When it began."""
    quick: bool
    machine: Machine
    backends: list[Backend]

    def of(self, name: BackendName) -> Backend | None:
        """What was measured of a backend; None: nothing."""
        return next((b for b in self.backends if b.name == name and b.measured), None)
