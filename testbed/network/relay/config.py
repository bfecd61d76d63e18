"""What the relay process is told, and what it answers."""

from __future__ import annotations

import msgspec


class TapEnd(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a link: a TAP device in the namespace of a node."""

    node: str
    interface: str


class WireConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Impairments of one direction, in base units."""

    delay_ns: int
    loss_ratio: float


class LinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One link; `forward` goes from `ends[0]` to `ends[1]`."""

    name: str
    ends: tuple[TapEnd, TapEnd]
    forward: WireConfig
    reverse: WireConfig
    log_fd: int
    """Descriptor of its segment."""


class RelayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The relay's one argument, as JSON."""

    seed: int
    links: list[LinkConfig]
    cpu: int | None = None
    """A CPU that is kept free for it; None: it runs where the scheduler puts it."""


class WireCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Packets of one direction, from start to end."""

    arrived: int
    delivered: int
    lost: int
    overflowed: int
    """Frames that could not be written, or were cut: the emulator's fault, never emulated loss."""
    held: int


class RelayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A line on the relay's standard output: first when it is ready, then when it ends."""

    scheduler: str
    """``fifo`` under SCHED_FIFO, else ``other``."""
    counts: dict[str, dict[str, WireCounts]] | None = None
    """By link and direction, in the last answer."""
