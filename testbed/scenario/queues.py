"""The queue before a shaped interface: its discipline and settings. Pure data.

A setting that is None is the discipline's own default, which differs between kernels; what a run
had is read back and is in its manifest.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

Discipline: TypeAlias = Literal["pfifo", "bfifo", "codel", "fq_codel", "cake", "red", "pie", "fq"]

LIMIT_UNITS: Final[dict[str, str]] = {
    "pfifo": "packets",
    "bfifo": "bytes",
    "codel": "packets",
    "fq_codel": "packets",
    "cake": "bytes",
    "red": "bytes",
    "pie": "packets",
    "fq": "packets",
}
"""What a discipline's limit counts (man pages tc-pfifo(8), tc-codel(8) and so on; for cake it is
memlimit)."""
SETTINGS: Final[dict[str, dict[str, str]]] = {
    "pfifo": {},
    "bfifo": {},
    "codel": {"target": "time", "interval": "time", "ce_threshold": "time"},
    "fq_codel": {
        "target": "time",
        "interval": "time",
        "ce_threshold": "time",
        "flows": "number",
        "quantum": "size",
    },
    "cake": {"rtt": "time"},
    "red": {"min": "size", "max": "size", "avpkt": "size", "burst": "number", "probability": "%"},
    "pie": {"target": "time", "tupdate": "time"},
    "fq": {"flow_limit": "packets", "quantum": "size", "ce_threshold": "time"},
}
"""The settings of each discipline beside its limit and what kind of quantity they take; tc's own
names."""
LIMIT_NEEDED: Final = ("pfifo", "bfifo", "red")
"""Disciplines that must be told their limit: what the interface has would not be the scenario's
(pfifo, bfifo), or tc has none (red)."""
MARKING: Final = ("codel", "fq_codel", "red", "pie")
"""Disciplines that mark instead of dropping when they are asked to (``ecn``). cake always marks."""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """One queue."""

    discipline: Discipline
    limit_packets: int | None = None
    limit_bytes: int | None = None
    settings: dict[str, float] = {}
    """By tc's name: times in ns, sizes in bytes, probabilities as ratios, numbers as they are."""
    ecn: bool = False
    """Mark packets of flows that can ECN instead of dropping them (RFC 3168)."""

    @property
    def marks(self) -> bool:
        """Whether it may mark packets, so that hosts should negotiate ECN."""
        return self.ecn or self.discipline == "cake"

    @property
    def is_drop_tail(self) -> bool:
        """Whether it drops what finds it full, and nothing else."""
        return self.discipline in ("pfifo", "bfifo")
