"""One direction of a link in base units, from its settings as people write them.

Pure but for the files that settings name: a trace of the capacity, a table of the delay.

Rules:

- Settings that contradict one another are problems, with the setting that is wrong.
- `changed` is the one place that knows what a change while the load runs may change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from testbed.errors import QuantityError
from testbed.network import netem, queues
from testbed.network.relay.config import TraceConfig, VariationConfig, WireConfig
from testbed.network.relay.distributions import negative_ratio, table_of
from testbed.recording.manifest import Direction
from testbed.scenario import notation
from testbed.scenario.impairments import Every, Listed, Segments, Trace
from testbed.scenario.model import Way
from testbed.scenario.queues import Queue
from testbed.scenario.tables import read_trace

DEFAULT_QUEUE_PACKETS: Final = 100
"""Queue of a shaped direction that names none: a small router's (the bufferbloat labs use 20 to
100).
"""
OnProblem = Callable[[str, str], None]
"""Is told a setting and what is wrong with it."""


def settle(bare: Direction, way: Way, problem: OnProblem) -> Direction:
    """The direction `bare` with the settings of `way`."""
    capacity = notation.parse_capacity(way.capacity) if way.capacity else None
    queue = notation.parse_queue(way.queue) if way.queue else None
    if queue is not None and capacity is None:
        problem("queue", "a queue needs a capacity: nothing waits without one")
    if capacity is not None and queue is None:
        queue = Queue(discipline="pfifo", limit_packets=DEFAULT_QUEUE_PACKETS)
    trace = capacity if isinstance(capacity, Trace) else None
    if trace is not None and queue is not None and not queue.is_drop_tail:
        problem(
            "queue",
            f"a capacity by a trace has a drop-tail queue, such as 50p (got {queue.discipline})",
        )
    drop_tail = queue is not None and queue.is_drop_tail
    return msgspec.structs.replace(
        bare,
        capacity_bit_s=trace.mean_bit_s if trace else capacity,
        trace=trace,
        queue=queue,
        queue_in_full=None if trace else _in_full(queue, capacity, problem),
        queue_packets=queue.limit_packets if drop_tail and queue else None,
        queue_bytes=queue.limit_bytes if drop_tail and queue else None,
        **_wire(way),
    )


def _in_full(queue: Queue | None, capacity: object, problem: OnProblem) -> Queue | None:
    if queue is None or not isinstance(capacity, int):
        return None
    try:
        return queues.complete(queue, capacity)
    except QuantityError as error:
        problem("queue", str(error))
        return None


def _wire(way: Way) -> dict[str, Any]:
    """What the wire does."""
    loss = notation.parse_loss(way.loss) if way.loss else None
    return {
        "delay_ns": way.delay_ns or 0,
        "delay_variation": _parsed(way.delay_variation, notation.parse_variation),
        "loss": loss,
        "loss_ratio": loss.mean_ratio if loss else 0.0,
        "duplicate": _parsed(way.duplicate, notation.parse_pick),
        "corrupt": _parsed(way.corrupt, notation.parse_pick),
        "reorder": _parsed(way.reorder, notation.parse_reorder),
        "outages": _parsed(way.outage, notation.parse_outages) or (),
    }


def _parsed(text: str | None, parse: Callable[[str], Any]) -> Any:
    return None if text is None else parse(text)


def needs_wire(way: Way) -> bool:
    """Whether any of these settings is one that only a wire in the middle can have.

    A ``delay`` of 0 that somebody wrote counts: it can be changed while the load runs.
    """
    given = way.given()
    by_trace = str(given.get("capacity", "")).split()[:1] == ["trace"]
    at_the_sender = {"capacity", "queue"}
    return by_trace or bool(given.keys() - at_the_sender - {"schedule"}) or _scheduled_wire(way)


def _scheduled_wire(way: Way) -> bool:
    return any(needs_wire(Way.from_text(_settings_of(text))) for text in way.schedule or ())


def _settings_of(text: str) -> str:
    return notation.split_scheduled(text)[1]


def changed(now: Direction, way: Way, problem: OnProblem) -> Direction:
    """The direction `now` with the settings that `way` gives, while the load runs.

    Queued packets and all other settings stay as they are; what cannot be changed without losing
    packets is a problem.
    """
    given = way.given()
    if "schedule" in given:
        problem("schedule", "a change cannot bring a schedule")
    wire = _wire(way)
    fields = {name: wire[name] for setting in given for name in _FIELDS.get(setting, ())}
    if "capacity" in given:
        capacity = notation.parse_capacity(given["capacity"])
        if isinstance(capacity, Trace) or now.trace is not None:
            problem("capacity", "a trace can be neither begun nor left while the load runs")
        elif now.capacity_bit_s is None:
            problem(
                "capacity",
                "this direction has none to change: give it one from the start (its queue would be "
                "made anew and lose its packets)",
            )
        else:
            fields["capacity_bit_s"] = capacity
    if "queue" in given:
        fields |= _queue_changed(now, notation.parse_queue(given["queue"]), problem)
    after = msgspec.structs.replace(now, **fields)
    if after.trace is not None or not fields.keys() & {"capacity_bit_s", "queue"}:
        return after
    in_full = _in_full(after.queue, after.capacity_bit_s, problem)
    return msgspec.structs.replace(after, queue_in_full=in_full)


_FIELDS: Final = {
    "delay": ("delay_ns",),
    "delay_variation": ("delay_variation",),
    "loss": ("loss", "loss_ratio"),
    "duplicate": ("duplicate",),
    "corrupt": ("corrupt",),
    "reorder": ("reorder",),
    "outage": ("outages",),
}


def _queue_changed(now: Direction, queue: Queue, problem: OnProblem) -> dict[str, Any]:
    if now.queue is None or now.queue.discipline != queue.discipline:
        had = now.queue.discipline if now.queue else "none"
        problem(
            "queue",
            "the discipline cannot change while the load runs: packets in the queue would be lost "
            f"(it is {had}, got {queue.discipline})",
        )
        return {}
    for why in queues.change_refusals(now.queue, queue):
        problem("queue", why)
    if now.trace is not None:
        problem("queue", "the queue before a trace cannot change while the load runs")
    return {
        "queue": queue,
        "queue_packets": queue.limit_packets if queue.is_drop_tail else None,
        "queue_bytes": queue.limit_bytes if queue.is_drop_tail else None,
    }


def kernel_refusals(way: Direction) -> list[tuple[str, str]]:
    """What netem cannot do of a direction's settings: the setting, and why."""
    found = []
    if way.trace is not None:
        found.append(("capacity", "netem cannot follow a trace"))
    if way.delay_ns > netem.MAX_DELAY_NS:
        found.append(("delay", "tc counts at most 274 s"))
    if way.delay_variation and way.delay_variation.spread_ns > netem.MAX_SPREAD_NS:
        found.append(("delay_variation", "netem counts at most 2.147 s"))
    if way.delay_variation and way.delay_variation.distribution == "table":
        entries = len(table_of(way.delay_variation))
        if entries > netem.MAX_ENTRIES:
            text = f"tc takes tables of at most {netem.MAX_ENTRIES} entries (this has {entries})"
            found.append(("delay_variation", text))
    for name in ("loss", "duplicate", "corrupt"):
        pick = getattr(way, name)
        if isinstance(pick, Every | Listed | Segments):
            found.append((name, "netem draws each packet by itself and does not count them"))
    if way.reorder is not None:
        found.append(
            (
                "reorder",
                "netem sends chosen packets early, so that others are late by how much the load "
                "decides; a ratio and an extent in the terms of RFC 4737 need the relay",
            )
        )
    if way.outages:
        found.append(
            ("outage", "netem has no clock of the load; a schedule with loss 100% comes close")
        )
    return found


def clamped_ratio(way: Direction) -> float:
    """Share of packets whose varied delay would be negative: they are not delayed at all."""
    if way.delay_variation is None:
        return 0.0
    return negative_ratio(way.delay_variation, way.delay_ns)


def wire_config(way: Direction) -> WireConfig:
    """What the relay is told of a direction.

    Raises:
        QuantityError: a file that it names cannot be read any more.
    """
    variation = None
    if way.delay_variation is not None and way.delay_variation.spread_ns:
        variation = VariationConfig(
            spread_ns=way.delay_variation.spread_ns,
            table=tuple(table_of(way.delay_variation).tolist()),
            overtaking=way.delay_variation.overtaking,
        )
    trace = None
    if way.trace is not None:
        trace = TraceConfig(
            opportunities_ms=read_trace(way.trace.name),
            queue_packets=way.queue_packets,
            queue_bytes=way.queue_bytes,
        )
    return WireConfig(
        delay_ns=way.delay_ns,
        variation=variation,
        loss=way.loss,
        duplicate=way.duplicate,
        corrupt=way.corrupt,
        reorder=way.reorder,
        outages=way.outages,
        trace=trace,
    )
