"""What the relay process is told, and what it answers."""

from __future__ import annotations

import msgspec

from testbed.scenario.impairments import Loss, Outage, Pick, Reorder
from testbed.scenario.model import DirectionName


class TapEnd(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a link: a TAP device in the namespace of a node."""

    node: str
    interface: str


class TraceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A capacity that follows a trace, with the drop-tail queue before it."""

    opportunities_ms: tuple[int, ...]
    """Ascending; the last one is the period."""
    queue_packets: int | None = None
    queue_bytes: int | None = None


class VariationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Delay variation with its table."""

    spread_ns: int
    table: tuple[int, ...] = ()
    """In iproute2's form; empty: uniform."""
    overtaking: bool = False


class WireConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Impairments of one direction, in base units; the types of `testbed.scenario.impairments`."""

    delay_ns: int = 0
    variation: VariationConfig | None = None
    loss: Loss | None = None
    duplicate: Pick | None = None
    corrupt: Pick | None = None
    reorder: Reorder | None = None
    outages: tuple[Outage, ...] = ()
    """From the start of the load, which the relay is told."""
    trace: TraceConfig | None = None


class LinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One link; `forward` goes from `ends[0]` to `ends[1]`."""

    name: str
    ends: tuple[TapEnd, TapEnd]
    forward: WireConfig
    reverse: WireConfig
    log_fd: int
    """Descriptor of its segment."""


class RelayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The first line on the relay's standard input, as JSON."""

    seed: int
    links: list[LinkConfig]
    cpu: int | None = None
    """A CPU that is kept free for it; None: it runs where the scheduler puts it."""


class WireChange(msgspec.Struct, frozen=True, kw_only=True):
    """New impairments of one direction, for every packet that comes at `at_ns` or later."""

    link: str
    direction: DirectionName
    at_ns: int
    """CLOCK_MONOTONIC; what is past holds at once."""
    wire: WireConfig


class RelayOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A further line on its standard input; the relay answers each with a `RelayAnswer`."""

    start_ns: int | None = None
    """The load starts then (CLOCK_MONOTONIC)."""
    changes: list[WireChange] = []
    """By time. They replace those that the directions named had before and did not make yet."""


class WireCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Packets of one direction, from start to end."""

    arrived: int
    delivered: int
    lost: int
    """By a rule of loss, or by an outage."""
    dropped: int = 0
    """By the full queue before a trace."""
    duplicated: int = 0
    """Copies made. in + duplicated = delivered + lost + dropped + overflowed + held."""
    corrupted: int = 0
    reordered: int = 0
    """Chosen to be reordered and overtaken."""
    overflowed: int
    """Frames that could not be written, or were cut: the emulator's fault, never emulated loss."""
    held: int
    ring_dropped: int = 0
    """Frames that the TAP device dropped before the relay could take them: the emulator's fault,
    too. They are not among those that arrived.
    """


class RelayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A line on the relay's standard output: when it is ready, to each order, when it ends."""

    scheduler: str
    """``fifo`` under SCHED_FIFO, else ``other``."""
    counts: dict[str, dict[str, WireCounts]] | None = None
    """By link and direction, in the last answer."""
    taken_ns: int = 0
    """To an order: CLOCK_MONOTONIC when it was taken. What was due before holds from then on."""
