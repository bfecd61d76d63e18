"""What was found in a recording, decoded and matched: the source of layers, ledger and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from testbed.analysis.crossings import Passage
from testbed.analysis.evidence import Evidence
from testbed.analysis.following import Followed
from testbed.analysis.hosts import HostStreams
from testbed.analysis.metrics.tcp import Explained
from testbed.analysis.transits import Transit

Aspect = dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Found:
    """All that the layers are read from."""

    evidence: Evidence
    passages: list[Passage]
    transits: list[Transit]
    followed: Followed
    hosts: list[HostStreams]
    retransmissions: Explained | None
    """Of all hosts; None where no host was captured."""

    def table(self, name: str) -> pl.DataFrame | None:
        """A table of the evidence."""
        return self.evidence.table(name)


@dataclass(frozen=True, slots=True)
class Aspects:
    """Loss, reordering and backpressure of one layer; None where it has no such aspect."""

    loss: Aspect
    reordering: Aspect
    backpressure: Aspect
