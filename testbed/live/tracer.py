"""The process that copies tracepoints, where there is an instance in tracefs for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from testbed.errors import ProcessError
from testbed.live.config import LiveConfig
from testbed.live.processes import Processes
from testbed.live.servers import PORT
from testbed.network.plan import NetworkPlan
from testbed.probes.tracepoints import TracedProcess, TracerAnswer, TracerConfig
from testbed.recording.layout import Layout, create_partial
from testbed.recording.manifest import ProbeRecord
from testbed.sandbox.namespaces import outer_ids, outer_threads

TRACED_LAYERS: Final = ("nic", "qdisc", "ip", "tcp", "socket", "syscall")
"""Layers of which tracepoints tell something."""
SOURCE: Final = "tracepoints"
_READY_S: Final = 120.0
_TRACED_KINDS: Final = ("server", "load", "relay")


def start_tracer(
    processes: Processes, layout: Layout, plan: NetworkPlan, config: LiveConfig
) -> None:
    """Starts the tracer, if there is an instance; servers, clients and relay run already."""
    if not config.trace_instance:
        return
    outer = outer_ids()
    traced = [
        TracedProcess(
            outer_id=outer[one.popen.pid],
            name=one.name,
            kind=one.kind,
            node=one.node,
            threads=outer_threads(outer[one.popen.pid]),
        )
        for one in processes.all
        if one.kind in _TRACED_KINDS and one.popen.pid in outer
    ]
    descriptor = create_partial(layout.segment("tracepoints"))
    told = TracerConfig(
        instance=config.trace_instance,
        interfaces=[i.name for node in plan.nodes for i in node.interfaces],
        processes=traced,
        port=PORT,
        segment_fd=descriptor,
    )
    processes.start(
        "tracer",
        "tracer",
        [sys.executable, "-m", "testbed.probes.tracepoints", msgspec.json.encode(told).decode()],
        pass_fds=[descriptor],
        answers=True,
    )


def wait_for_tracer(processes: Processes) -> str:
    """Returns when the tracer records; why it cannot, or an empty text."""
    for tracer in processes.of_kind("tracer"):
        answer = msgspec.json.decode(tracer.read_line(_READY_S), type=TracerAnswer)
        if answer.failure:
            tracer.about["failure"] = answer.failure
            tracer.end()
            return answer.failure
        tracer.about["events"] = answer.events
        tracer.about |= {f"missing {name}": why for name, why in answer.missing.items()}
    return ""


def end_tracer(processes: Processes) -> None:
    """Ends the tracer and keeps what it says of itself.

    Raises:
        ProcessError: it did not end well.
    """
    for tracer in processes.of_kind("tracer"):
        if "failure" in tracer.about:
            continue  # it never recorded, and has ended
        tracer.ask_to_end()
        answer = msgspec.json.decode(tracer.read_line(_READY_S), type=TracerAnswer)
        for name in ("pages", "bytes", "overruns", "busy_ns"):
            tracer.about[name] = getattr(answer, name)
        if tracer.end() != 0:
            raise ProcessError(
                f"{tracer.name} did not end well ({tracer.how_it_ended()})",
                where=tracer.name,
                last_lines=tracer.last_lines(),
            )


def with_tracepoints(records: Sequence[ProbeRecord], missing: str) -> list[ProbeRecord]:
    """The records of the probes with what tracepoints add to them.

    Args:
        records: of all layers.
        missing: why there are no tracepoints; empty: there are.
    """
    return [_with_tracepoints(one, missing) for one in records]


def _with_tracepoints(record: ProbeRecord, missing: str) -> ProbeRecord:
    if record.layer not in TRACED_LAYERS:
        return record
    if not missing:
        sources = [*record.sources, SOURCE]
        reason = record.reason if record.observed else ""
        return msgspec.structs.replace(record, observed=True, sources=sources, reason=reason)
    if record.observed:
        return record  # what other sources tell; the figures of tracepoints alone are null
    return msgspec.structs.replace(record, reason=missing)
