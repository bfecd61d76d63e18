"""What observing took in this run, probe by probe.

Processes that only observe are measured: the CPU time that they ran while the load did. What a
probe within a server or a client takes is part of that process; it is estimated, from how often it
recorded something and what one record costs. Those costs were measured on the 2-core development
machine and are stated on the pages of docs/reference/events ("Overhead").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from testbed.analysis.evidence import Evidence
from testbed.analysis.summary import Observing
from testbed.units import NS_PER_US

RECORD_NS: Final = {
    "event_loop": 2100,
    "asgi": round(4.1 * NS_PER_US),
    "syscall": 900,
    "kernel_events": 230,
}
"""By table what one row of it costs the process that it is about."""
_OBSERVERS: Final = {"sampler": "samples", "tracer": "tracepoints", "capture": "captures"}
"""Kinds of processes that only observe, and the probe that each of them is."""


def observing(evidence: Evidence) -> list[Observing]:
    """The costs, the largest first; empty where the load never ran."""
    manifest = evidence.manifest
    if manifest.load_started_ns is None or manifest.load_ended_ns is None:
        return []
    load_ns = max(1, manifest.load_ended_ns - manifest.load_started_ns)
    costs: dict[tuple[str, bool], int] = {}
    for probe, cpu_ns, measured in (*_measured(evidence), *_estimated(evidence)):
        costs[probe, measured] = costs.get((probe, measured), 0) + cpu_ns
    found = [
        Observing(probe=probe, cpu_ns=cpu_ns, cpu_ratio=cpu_ns / load_ns, measured=measured)
        for (probe, measured), cpu_ns in costs.items()
    ]
    return sorted(found, key=lambda one: -one.cpu_ns)


def _measured(evidence: Evidence) -> Iterator[tuple[str, int, bool]]:
    shares = evidence.manifest.cpu_shares
    for process in evidence.manifest.processes:
        probe = _OBSERVERS.get(process.kind)
        if probe is not None and process.name in shares:
            yield probe, shares[process.name].ran_ns, True


def _estimated(evidence: Evidence) -> Iterator[tuple[str, int, bool]]:
    for name, cost_ns in RECORD_NS.items():
        table = evidence.table(name)
        if table is not None:
            probe = "tracepoints" if name == "kernel_events" else name
            yield probe, table.height * cost_ns, False
