"""Where backpressure comes from, in one sentence (pure).

Rules:

- Pressure goes upstream: who cannot hand on what he has makes the one before him wait. So the
  origin is the stop furthest downstream that holds messages back while what comes after it does
  not.
- A stop is a suspect when it held messages back for `TELLING_RATIO` of the load or more. Stops are
  looked at from the end of the way (the client's reader) to its beginning (the client's pool).
- An origin has to account for the waiting before it: a suspect that held back less than half as
  long as another one is passed over (`EXPLAINING_RATIO`).
- A server without a descriptor for the next connection comes before its accept queue, which fills
  because of that.
- An accept queue that overflows comes before the event loop that does not empty it: the block costs
  each client its own length, a dropped packet of its handshake a second (RFC 6298, 2.1: the first
  retransmission timeout).

Why each suspect is one: docs/reference/backpressure.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from testbed.analysis.summary import Origin, Stop

TELLING_RATIO: Final = 0.1
"""Below a tenth of the load a stop is no suspect: a run has a beginning and an end in which buffers
fill and drain."""
EXPLAINING_RATIO: Final = 0.5
LAGGING_RATIO: Final = 0.5
"""Of an event loop that is not blocked by single steps: tasks take turns, so that some lag is
normal."""
QUIET: Final = "no backpressure to speak of"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the sentence needs beside the stops."""

    clients: Sequence[str]
    servers: Sequence[str]
    overflows: Mapping[str, int]
    """Packets of handshakes that each node's full accept queue dropped (TcpExt.ListenOverflows):
    SYNs, last ACKs and what clients repeat meanwhile, so several for one connection."""
    backlogs: Mapping[str, int]
    """Of each node's listener."""
    refused_accepts: Mapping[str, int] = field(default_factory=dict)
    """How often each node's accept() failed for want of a descriptor."""
    descriptor_limits: Mapping[str, int] = field(default_factory=dict)
    """Of each node's server processes, where known."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A stop that held messages back."""

    origin: Origin
    ratio: float
    """For what share of the load."""
    says: str
    """What it did, after "pressure comes from"."""


def diagnose(stops: Sequence[Stop], facts: Facts) -> tuple[Origin | None, str]:
    """The origin and the sentence."""
    view = _View(stops, facts)
    suspects = [one for one in _suspects(view) if one.ratio >= TELLING_RATIO]
    if not suspects:
        return None, QUIET
    most = max(one.ratio for one in suspects)
    found = next(one for one in suspects if one.ratio >= EXPLAINING_RATIO * most)
    return found.origin, f"pressure comes from {found.says}"


class _View:
    """The stops by their names."""

    def __init__(self, stops: Sequence[Stop], facts: Facts) -> None:
        self.stops = stops
        self.facts = facts

    def one(self, layer: str, node: str, what: str) -> Stop | None:
        """The stop, or None where it was not observed."""
        same = (s for s in self.stops if (s.layer, s.node, s.what) == (layer, node, what))
        return next(same, None)

    def ratio(self, layer: str, node: str, what: str) -> float:
        """Its share of the load; 0 where it was not observed."""
        found = self.one(layer, node, what)
        return 0.0 if found is None else found.waited_ratio

    def waiting(self, layer: str, what: str) -> Stop | None:
        """Of all nodes' stops with this name the one that waited longest, if it waited."""
        same = [s for s in self.stops if (s.layer, s.what) == (layer, what) and s.waited_ns]
        return max(same, key=lambda stop: stop.waited_ns, default=None)

    def of(self, node: str) -> str:
        """A node in a sentence: ``the server's``, ``c1's``."""
        return f"{self.name(node)}'s"

    def name(self, node: str) -> str:
        """``the server`` where there is one of that name, else the name."""
        return f"the {node}" if node in ("client", "server") else node


def _suspects(view: _View) -> Iterator[Suspect]:
    """From the end of the way to its beginning."""
    clients, servers = view.facts.clients, view.facts.servers
    steps: list[tuple[Callable[[_View, str], Suspect | None], Sequence[str]]] = [
        (_loop, clients),
        (_client_reader, clients),
    ]
    yield from _each(view, steps)
    yield from _queues(view, "response")
    steps = [
        (_congestion, servers),
        (_descriptors, servers),
        (_accept_queue, servers),
        (_loop, servers),
        (_server_reader, servers),
    ]
    yield from _each(view, steps)
    yield from _queues(view, "request")
    steps = [(_congestion, clients), (_writer, clients), (_pool, clients)]
    yield from _each(view, steps)


def _each(
    view: _View, steps: Sequence[tuple[Callable[[_View, str], Suspect | None], Sequence[str]]]
) -> Iterator[Suspect]:
    """Of each step the node where it held back longest."""
    for suspect, nodes in steps:
        found = [one for node in nodes if (one := suspect(view, node)) is not None]
        if found:
            yield max(found, key=lambda one: one.ratio)


def _loop(view: _View, node: str) -> Suspect | None:
    blocked, lag = view.one("event_loop", node, "blocked"), view.one("event_loop", node, "lag")
    serves = node in view.facts.servers
    if blocked is not None and blocked.waited_ratio >= TELLING_RATIO:
        says = (
            f"{view.of(node)} event loop: it was blocked {_percent(blocked.waited_ratio)} of the "
            f"time, up to {_time(blocked.longest_ns)} at once"
        )
        waited = _answers(view) if serves else _pushed_back(view)
        return Suspect(_origin(blocked), blocked.waited_ratio, says + waited)
    # Loops that talk to each other are busy together: the one that lags most holds the other up.
    if lag is None or lag.waited_ratio < LAGGING_RATIO or lag != view.waiting("event_loop", "lag"):
        return None
    says = (
        f"{view.of(node)} event loop: tasks waited for their turn {_percent(lag.waited_ratio)} of "
        f"the time, {_count(lag.peak_amount, 'task')} at once at most"
    )
    return Suspect(_origin(lag), lag.waited_ratio, says + (_answers(view) if serves else ""))


def _client_reader(view: _View, node: str) -> Suspect | None:
    reader = view.one("http", node, "reader")
    return None if reader is None else _reader(view, node, reader, "reader", _pushed_back(view))


def _server_reader(view: _View, node: str) -> Suspect | None:
    reader = view.one("asgi", node, "reader")
    waited = _sending(view)
    return None if reader is None else _reader(view, node, reader, "application", waited)


def _reader(view: _View, node: str, reader: Stop, who: str, waited: str) -> Suspect | None:
    """A reader is a suspect as long as what it does not read stops the sender."""
    full = view.ratio("socket", node, "receive buffer full")
    closed = view.ratio("tcp", node, "zero window")
    ratio = max(full, closed)
    state = "its receive buffer was full" if full >= closed else "its window was closed"
    says = (
        f"{view.of(node)} {who}: {state} {_percent(ratio)} of the time, with up to "
        f"{_size(reader.peak_amount)} unread"
    )
    return Suspect(_origin(reader), ratio, says + waited) if ratio else None


def _queues(view: _View, direction: str) -> Iterator[Suspect]:
    found = [
        s
        for s in view.stops
        if s.direction == direction and s.what.startswith("queue ") and s.waits
    ]
    if not found:
        return
    worst = max(found, key=lambda stop: stop.waited_ratio)
    waited = _pushed_back(view) if direction == "response" else _sending(view)
    says = (
        f"the link {worst.what.removeprefix('queue ')}: its queue was not empty "
        f"{_percent(worst.waited_ratio)} of the time and held up to "
        f"{_count(worst.peak_amount, 'packet')}"
    )
    yield Suspect(_origin(worst), worst.waited_ratio, says + waited)


def _congestion(view: _View, node: str) -> Suspect | None:
    window = view.one("tcp", node, "congestion window")
    if window is None or not window.waits:
        return None
    waited = _pushed_back(view) if node in view.facts.servers else _sending(view)
    says = (
        f"{view.of(node)} congestion window: TCP held data back {_percent(window.waited_ratio)} of "
        f"the time, up to {_size(window.peak_amount)} unsent"
    )
    return Suspect(_origin(window), window.waited_ratio, says + waited)


def _descriptors(view: _View, node: str) -> Suspect | None:
    stop, failed = view.one("syscall", node, "descriptors"), view.facts.refused_accepts.get(node, 0)
    if stop is None or not stop.waits:
        return None
    limit = view.facts.descriptor_limits.get(node)
    size = "" if limit is None else f" (limit {limit})"
    queue = view.one("socket", node, "accept queue")
    waited = ""
    if queue is not None and queue.waits:
        peak = _count(queue.peak_amount, "connection")
        waited = f", and up to {peak} waited in the accept queue"
    if not failed:  # its system calls were not seen
        says = (
            f"{view.of(node)} descriptors{size}: all were in use {_percent(stop.waited_ratio)} of "
            f"the time{waited}"
        )
        return Suspect(_origin(stop), stop.waited_ratio, says) if waited else None
    says = (
        f"{view.of(node)} descriptors{size}: accept() failed {_count(failed, 'time')} with "
        f'"Too many open files" and nobody was accepted {_percent(stop.waited_ratio)} of the '
        f"time{waited}"
    )
    return Suspect(_origin(stop), stop.waited_ratio, says)


def _accept_queue(view: _View, node: str) -> Suspect | None:
    full = view.one("socket", node, "accept queue full")
    dropped = view.facts.overflows.get(node, 0)
    if full is None or not dropped:
        return None
    # Each drop costs its client a retransmission timeout, long after the queue has room again.
    again = view.waiting("tcp", "handshake")
    ratio = max(full.waited_ratio, 0.0 if again is None else again.waited_ratio)
    waited = ""
    if again is not None:
        waited = (
            f", and {_who(view, again)} waited up to {_time(again.longest_ns)} for a connection"
        )
    blocked = view.ratio("event_loop", node, "blocked")
    behind = ""
    if blocked >= TELLING_RATIO:
        behind = f"; the event loop behind it was blocked {_percent(blocked)} of the time"
    backlog = view.facts.backlogs.get(node)
    size = "" if backlog is None else f" (backlog {backlog})"
    packets = _count(dropped, "handshake packet was", "handshake packets were")
    says = (
        f"{view.of(node)} accept queue{size}: it was full {_percent(full.waited_ratio)} of "
        f"the time, {packets} dropped{waited}{behind}"
    )
    return Suspect(_origin(full), ratio, says)


def _writer(view: _View, node: str) -> Suspect | None:
    """A writer is a suspect as long as the application starves for what it does not write."""
    writer, starved = view.one("http", node, "writer"), view.waiting("asgi", "receive")
    if writer is None or starved is None or starved.waited_ratio < TELLING_RATIO:
        return None
    says = (
        f"{view.of(node)} writer: while it sent, nothing was left to send "
        f"{_percent(writer.waited_ratio)} of the time and {_who(view, starved)} waited "
        f"{_time(starved.waited_ns)} in receive()"
    )
    return Suspect(_origin(writer), writer.waited_ratio, says)


def _pool(view: _View, node: str) -> Suspect | None:
    pool = view.one("http", node, "pool")
    if pool is None or not pool.waits:
        return None
    says = (
        f"{view.of(node)} connection pool: requests waited for a connection "
        f"{_percent(pool.waited_ratio)} of the time, {_count(pool.peak_amount, 'request')} at once "
        "at most"
    )
    return Suspect(_origin(pool), pool.waited_ratio, says)


def _pushed_back(view: _View) -> str:
    """Who waited in send(), as the end of a sentence."""
    send = view.waiting("asgi", "send")
    if send is None:
        return ""
    return f", and {_who(view, send)} waited {_time(send.waited_ns)} in send()"


def _sending(view: _View) -> str:
    """What clients had not sent, as the end of a sentence."""
    unsent = [s for s in view.stops if s.what == "send buffer" and s.node in view.facts.clients]
    worst = max(unsent, key=lambda stop: stop.waited_ns, default=None)
    if worst is None or not worst.waited_ns:
        return ""
    return f", and {_who(view, worst)} had unsent data for {_time(worst.waited_ns)}"


def _answers(view: _View) -> str:
    """Who waited for answers, as the end of a sentence."""
    waited = view.waiting("http", "await")
    if waited is None:
        return ""
    return f", and {_who(view, waited)} waited up to {_time(waited.longest_ns)} for an answer"


def _who(view: _View, stop: Stop) -> str:
    return view.name(stop.node)


def _origin(stop: Stop) -> Origin:
    return Origin(layer=stop.layer, node=stop.node, what=stop.what)


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.0f} %"


def _time(value_ns: int) -> str:
    for unit_ns, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if value_ns >= unit_ns:
            return f"{float(f'{value_ns / unit_ns:.3g}'):g} {unit}"
    return f"{value_ns} ns"


def _size(value_bytes: int) -> str:
    return f"{value_bytes / 1000:.0f} kB" if value_bytes >= 1000 else f"{value_bytes} B"


def _count(value: int, one: str, many: str = "") -> str:
    return f"{value} {one if value == 1 else many or one + 's'}"
