"""The manifest: what was asked for, what was built, on what machine, and what could not be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from testbed.errors import RecordingError
from testbed.recording.layout import Layout, write_atomically
from testbed.scenario import Scenario
from testbed.scenario.checked import recorded
from testbed.scenario.impairments import Loss, Outage, Pick, Reorder, Trace, Variation
from testbed.scenario.model import DirectionName
from testbed.scenario.queues import Queue
from testbed.scenario.tables import SendTimes

FORMAT = 1


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Interface(_Record, frozen=True, kw_only=True):
    """One interface as it was built."""

    name: str
    mac: str
    addresses: list[str] = []
    """With prefix length: ``10.0.0.1/24``."""
    offloads: dict[str, bool] = {}
    """As read back from ethtool."""


class Node(_Record, frozen=True, kw_only=True):
    """One node as it was built."""

    name: str
    role: Literal["client", "server", "router", "host", "switch"]
    interfaces: list[Interface] = []
    sysctls: dict[str, str] = {}
    """As read back."""
    descriptors: int | None = None
    """Limit on the descriptors of each process of the run in it; None: as this process has it."""
    congestion_control: str | None = None
    service: str = ""
    """An address that it shares with other servers, with prefix length; empty: it has none."""
    spread: Literal["flows", "packets"] | None = None
    """What goes which way where its routes have several; None: they have one each."""


class Direction(_Record, frozen=True, kw_only=True):
    """One direction of a link, with its settings in base units."""

    sender: str
    sender_interface: str
    receiver: str
    receiver_interface: str
    bottleneck: bool = False
    """Marked by the topology; a scenario's link options apply here."""
    capacity_bit_s: int | None = None
    """None: not shaped. With a trace its mean."""
    trace: Trace | None = None
    """The capacity follows it, on the wire; then nothing is shaped at the sender."""
    queue: Queue | None = None
    """As the scenario has it."""
    queue_in_full: Queue | None = None
    """With every setting that tc was told, also those that the scenario leaves out; None where
    nothing is shaped at the sender."""
    queue_packets: int | None = None
    """Limit of a drop-tail queue in packets; None: there is none, or it counts bytes."""
    queue_bytes: int | None = None
    delay_ns: int = 0
    delay_variation: Variation | None = None
    loss: Loss | None = None
    loss_ratio: float = 0.0
    """Share of packets that `loss` takes in the long run; 0 for a list, which ends."""
    duplicate: Pick | None = None
    corrupt: Pick | None = None
    reorder: Reorder | None = None
    outages: tuple[Outage, ...] = ()


class ScheduledChange(_Record, frozen=True, kw_only=True):
    """A change that the scenario asks for."""

    at_ns: int
    """From the start of the load."""
    direction: DirectionName
    text: str
    """As it was written."""
    settings: Direction
    """The direction as it is from then on."""


class LinkRecord(_Record, frozen=True, kw_only=True):
    """A link as it was built; `forward` is from its first node to its second."""

    name: str
    """``<a>-<b>``."""
    wire: Literal["relay", "kernel", "direct"]
    """What lies in its middle; direct: a plain veth pair."""
    bottleneck: bool
    """At least one of its directions is marked."""
    forward: Direction
    reverse: Direction
    schedule: tuple[ScheduledChange, ...] = ()
    """By time."""


class AppliedChange(_Record, frozen=True, kw_only=True):
    """A change of a direction that was made while the run went on."""

    at_ns: int
    """CLOCK_MONOTONIC from which on it holds: the relay's wire takes it for every packet that comes
    then; for tc the moment before the command."""
    done_ns: int
    """CLOCK_MONOTONIC when all of it was in force."""
    link: str
    direction: DirectionName
    text: str
    """``capacity 2mbit``."""
    source: Literal["schedule", "python"]
    settings: Direction
    """The direction as it is from then on."""


class ProbeRecord(_Record, frozen=True, kw_only=True):
    """Whether a layer was observed."""

    layer: str
    observed: bool
    reason: str = ""
    """Why not, or what part is missing."""
    sources: list[str] = []
    """What it was read from: ``/proc/net/snmp``, ``inet_diag``."""


class Clock(_Record, frozen=True, kw_only=True):
    """CLOCK_REALTIME minus CLOCK_MONOTONIC at one moment (see testbed.clock.ClockOffset)."""

    at_monotonic_ns: int
    offset_ns: int
    uncertainty_ns: int


class ProcessRecord(_Record, frozen=True, kw_only=True):
    """A process of the run."""

    name: str
    kind: Literal["server", "load", "relay", "sampler", "capture", "tracer"]
    node: str
    exit_code: int | None = None
    about: dict[str, int | str] = {}
    """Counters that it gave at its end, such as the relay's overflow."""


class CpuShare(_Record, frozen=True, kw_only=True):
    """What a process had of the CPUs while the load ran (/proc/PID/schedstat, its first thread)."""

    ran_ns: int
    waited_ns: int
    """It was ready to run, and no CPU was free for it."""


class Manifest(_Record, frozen=True, kw_only=True):
    """manifest.json."""

    format: int = FORMAT
    state: Literal["running", "complete", "failed", "interrupted"] = "running"
    failure: str = ""
    """What went wrong, for the states failed and interrupted."""
    testbed_version: str
    versions: dict[str, str]
    kernel: str
    cpus: int
    started_utc: str
    command: list[str] = []
    scenario: Scenario
    seed: int
    link_backend: Literal["relay", "kernel"]
    arrivals: SendTimes | None = None
    """Of the load, where they follow a trace."""
    nodes: list[Node] = []
    links: list[LinkRecord] = []
    changes: list[AppliedChange] = []
    """Of link settings while the run went on, by time."""
    probes: list[ProbeRecord] = []
    processes: list[ProcessRecord] = []
    clock_start: Clock | None = None
    clock_end: Clock | None = None
    load_started_ns: int | None = None
    """CLOCK_MONOTONIC when the clients were told to begin."""
    load_ended_ns: int | None = None
    stolen_cpu_ratio: float | None = None
    """Share of all CPU time that the hypervisor took while the load ran (/proc/stat, steal)."""
    busy_cpu_ratio: float | None = None
    """Share of all CPU time that was in use while the load ran."""
    cpu_shares: dict[str, CpuShare] = {}
    """By name of the process; empty where the kernel does not say."""
    warnings: list[str] = []

    @property
    def load_began(self) -> bool:
        """Whether the clients were told to begin."""
        return self.load_started_ns is not None or self.state == "complete"


NO_LOAD: Final = "the run ended before the load began"
"""Why nothing of a run was observed whose clients were never told to begin."""


def write_manifest(layout: Layout, manifest: Manifest) -> None:
    """Writes manifest.json."""
    data = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    write_atomically(layout.manifest, data + b"\n")


_MOST: Final = 2**62
"""Columns are of 64 bits; two of these can be added."""


def read_manifest(layout: Layout) -> Manifest:
    """Reads manifest.json.

    Raises:
        RecordingError: it is missing, damaged, or of a later format.
    """
    path: Path = layout.manifest
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}", where=str(path)) from error
    try:
        whole = msgspec.json.decode(data, type=dict)
        found = whole.get("format")
        if found != FORMAT:
            raise RecordingError(
                f"{path} has format {found!r}; this version reads format {FORMAT}",
                where=str(path),
                wanted=str(FORMAT),
                got=found,
            )
        # A seed may have all 63 bits, and what was asked for was checked when it was asked for.
        measured = [value for name, value in whole.items() if name not in ("seed", "scenario")]
        if _largest(measured) > _MOST:
            raise RecordingError(
                f"{path} is damaged: it has a number beyond {_MOST}, of nanoseconds 146 years",
                where=str(path),
            )
        with recorded():
            return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} is damaged: {error}", where=str(path)) from error


def _largest(value: object) -> int:
    """The largest whole number in it, signs aside."""
    if isinstance(value, int):
        return abs(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(_largest, parts), default=0)
