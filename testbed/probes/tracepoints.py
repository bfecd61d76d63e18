"""Tracepoint probe: the kernel's own events, copied page by page from an instance in tracefs.

A process of its own: `python -m testbed.probes.tracepoints CONFIG_JSON`, until standard input
closes.

Rules:

- Filters come before copying: an event that cannot be the run's is left out by the kernel where
  its fields tell (interface, port, process), because tracepoints fire for the whole machine.
- Only whole pages of the ring buffer are copied, with the text that describes their layout:
  decoding is offline work.
- An event, a filter or a setting that this kernel does not have is named in `TracerAnswer.missing`;
  all others are recorded all the same.
- What the ring lost is counted by the kernel (``per_cpu/cpuN/stats``) and said at the end.

Sources: Documentation/trace/events.rst (filters), Documentation/trace/ftrace.rst (instances,
``trace_pipe_raw``, ``stats``).
"""

from __future__ import annotations

import gc
import json
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from testbed.events.tracepoints import STATS_KIND
from testbed.recording.segments import SegmentHeader, SegmentWriter
from testbed.sandbox import tracefs

_BEAT_S: Final = 0.025
"""Between two visits to the rings: 8 MiB hold what 100,000 events a second write in 1.5 s."""
_NEARLY_FULL: Final = 0.75
"""A page with less than this is the one that the kernel writes to: reading has caught up."""
_LONGEST_FILTER: Final = 3800
"""kernel/trace/trace_events.c, event_filter_write: less than a page."""
_PAGE_HEADER_BYTES: Final = 16
_COMMIT_MASK: Final = 0xFFFFF
"""The rest are flags (kernel/trace/ring_buffer.c, RB_MISSED_EVENTS)."""


class TracedProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the run."""

    outer_id: int
    """Its id in the outermost PID namespace, which is the one that traces carry."""
    name: str
    kind: str
    node: str
    threads: list[int] = []
    """Outer ids of its other threads, as far as there are any yet."""


class TracerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The tracer's one argument, as JSON."""

    instance: str
    interfaces: list[str]
    """Names of the run's interfaces."""
    processes: list[TracedProcess]
    port: int
    """Of the servers."""
    segment_fd: int
    ring_kib: int = 8192
    """Size of the ring of each CPU."""


class TracerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A line on the tracer's standard output: when it is ready, and when it ends."""

    failure: str = ""
    """Why nothing at all is traced."""
    missing: dict[str, str] = {}
    """Event (or setting) -> what of it is not there and why."""
    events: int = 0
    """Kinds of events that are recorded."""
    pages: int = 0
    bytes: int = 0
    overruns: int = 0
    """Events that the rings lost, all kinds of loss together."""
    busy_ns: int = 0
    """Time spent reading."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """What filters are made of."""

    interfaces: Sequence[str]
    workers: Sequence[int]
    """Outer ids of servers and clients, and of their threads."""
    relays: Sequence[int]
    port: int

    def named(self) -> str:
        """Events with an interface's name."""
        exact = _any(f'name == "{name}"' for name in self.interfaces or [""])
        if len(exact) < _LONGEST_FILTER:
            return exact
        return _any(f'name ~ "{name}*"' for name in _prefixes(self.interfaces))

    def ported(self) -> str:
        """Events of one TCP connection."""
        return f"sport == {self.port} || dport == {self.port}"

    def by_workers(self) -> str:
        """Events in the context of a server or client."""
        return self.of_workers("common_pid")

    def by_readers(self) -> str:
        """Events in the context of a server, client or relay: who reads packets."""
        readers = [*self.workers, *self.relays] or [-1]
        return _any(f"common_pid == {process}" for process in readers)

    def of_workers(self, *fields: str) -> str:
        """Events in which one of `fields` is a server or client."""
        # Without any an empty filter would let everything through.
        known = self.workers or [-1]
        return _any(f"{field} == {process}" for process in known for field in fields)


def _any(terms: Iterable[str]) -> str:
    return " || ".join(terms)


def _prefixes(names: Sequence[str]) -> list[str]:
    """First letters of names, few enough for a filter."""
    for length in range(12, 0, -1):
        found = sorted({name[:length] for name in names})
        if len(found) * (length + 20) < _LONGEST_FILTER:
            return found
    return []


_NET: Final = "vec == 2 || vec == 3"
"""NET_TX and NET_RX (include/linux/interrupt.h)."""
_PROTOCOLS: Final = "protocol == 0x0800 || protocol == 0x0806 || protocol == 0x86dd"
"""IPv4, ARP and IPv6: not the many messages of netlink and Unix sockets, which have none."""


def _everything(_scope: _Scope) -> str:
    return ""


EVENTS: Final[dict[str, Callable[[_Scope], str]]] = {
    "irq:softirq_raise": lambda _scope: _NET,
    "irq:softirq_entry": lambda _scope: _NET,
    "irq:softirq_exit": lambda _scope: _NET,
    "napi:napi_poll": _everything,
    "net:netif_rx": _Scope.named,
    "net:netif_receive_skb": _Scope.named,
    "net:net_dev_queue": _Scope.named,
    "net:net_dev_start_xmit": _Scope.named,
    "net:net_dev_xmit": _Scope.named,
    "qdisc:qdisc_enqueue": _everything,
    "qdisc:qdisc_dequeue": lambda _scope: "skbaddr != 0",
    "skb:kfree_skb": lambda _scope: _PROTOCOLS,
    "skb:skb_copy_datagram_iovec": _Scope.by_readers,
    "tcp:tcp_probe": _Scope.ported,
    "tcp:tcp_retransmit_skb": _Scope.ported,
    "tcp:tcp_bad_csum": _everything,
    "sock:inet_sock_set_state": _Scope.ported,
    "sock:sk_data_ready": lambda _scope: "protocol == 6",
    "sock:sock_send_length": lambda scope: f"protocol == 6 && ({scope.by_workers()})",
    "sock:sock_recv_length": lambda scope: f"protocol == 6 && ({scope.by_workers()})",
    "sched:sched_process_fork": lambda scope: scope.of_workers("parent_pid"),
    "sched:sched_waking": lambda scope: scope.of_workers("pid"),
    "sched:sched_wakeup": lambda scope: scope.of_workers("pid"),
    "sched:sched_switch": lambda scope: scope.of_workers("prev_pid", "next_pid"),
}
"""Events and their filters; an empty one lets everything through."""


def filters(
    interfaces: Sequence[str], processes: Sequence[TracedProcess], port: int
) -> dict[str, str]:
    """The filter of each event."""
    workers = [
        number
        for one in processes
        if one.kind in ("server", "load")
        for number in (one.outer_id, *one.threads)
    ]
    relays = [one.outer_id for one in processes if one.kind == "relay"]
    scope = _Scope(interfaces, workers, relays, port)
    return {event: make(scope) for event, make in EVENTS.items()}


class Tracer:
    """An instance, its rings, and the segment that their pages go to.

    Raises:
        OSError: tracefs is not there or may not be used.
    """

    def __init__(self, config: TracerConfig) -> None:
        self._instance = tracefs.mounted() / "instances" / config.instance
        self.missing: dict[str, str] = {}
        self._write("tracing_on", "0")
        self._write("trace_clock", "mono")
        self._write("buffer_size_kb", str(config.ring_kib))
        wanted = filters(config.interfaces, config.processes, config.port)
        self.enabled = [name for name, text in wanted.items() if self._enable(name, text)]
        self._page_bytes = self._find_page_bytes()
        cpus = sorted((self._instance / "per_cpu").iterdir(), key=_number)
        self._rings = [
            os.open(cpu / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            for cpu in cpus
        ]
        self._cpus = cpus
        self.pages = self.bytes = self.busy_ns = 0
        header = SegmentHeader(
            layout="frames",
            source="tracepoints",
            process="tracer",
            kinds=[*(cpu.name for cpu in cpus), STATS_KIND],
            about={
                "header_page": self._read("events/header_page"),
                "page_bytes": str(self._page_bytes),
                "formats": json.dumps({name: self._format(name) for name in self.enabled}),
                "processes": msgspec.json.encode(config.processes).decode(),
                "missing": json.dumps(self.missing),
            },
        )
        self._segment = SegmentWriter(config.segment_fd, header)

    def start(self) -> None:
        """Begins to record."""
        self._write("tracing_on", "1")

    def run(self, stop: int) -> None:
        """Copies pages until the descriptor `stop` is readable, then what is left of them."""
        while not select.select([stop], [], [], _BEAT_S)[0]:
            self._copy(whole=False)
        self._write("tracing_on", "0")
        self._copy(whole=True)

    def close(self) -> dict[str, dict[str, int]]:
        """Writes the statistics of the rings, closes everything; returns them by CPU."""
        stats = {
            cpu.name: _counts((cpu / "stats").read_text(encoding="ascii")) for cpu in self._cpus
        }
        now_ns = time.monotonic_ns()
        payload = json.dumps(stats).encode()
        self._segment.frame(now_ns, now_ns, payload, kind=len(self._rings))
        self._segment.close()
        for ring in self._rings:
            os.close(ring)
        return stats

    def _copy(self, *, whole: bool) -> None:
        began_ns = time.monotonic_ns()
        enough = 0 if whole else int(self._page_bytes * _NEARLY_FULL)
        for kind, ring in enumerate(self._rings):
            while True:
                try:
                    page = os.read(ring, self._page_bytes)
                except BlockingIOError:
                    break
                used = int.from_bytes(page[8:16], sys.byteorder) & _COMMIT_MASK
                if not used:
                    break
                now_ns = time.monotonic_ns()
                kept = page[: _PAGE_HEADER_BYTES + used]
                self._segment.frame(began_ns, now_ns, kept, kind=kind)
                self.pages += 1
                self.bytes += len(kept)
                if used < enough:
                    break
        self.busy_ns += time.monotonic_ns() - began_ns

    def _enable(self, name: str, text: str) -> bool:
        """Switches an event on; says in `missing` what is not there."""
        event = "events/" + name.replace(":", "/")
        if not (self._instance / event).is_dir():
            self.missing[name] = "not in this kernel"
            return False
        if text:
            try:
                self._write(f"{event}/filter", text)
            except OSError as error:
                # Without its filter it would tell of the whole machine.
                self.missing[name] = f"its filter was refused: {error.strerror}: {text[:200]}"
                return False
        try:
            self._write(f"{event}/enable", "1")
        except OSError as error:
            self.missing[name] = f"cannot be enabled: {error.strerror}"
            return False
        return True

    def _find_page_bytes(self) -> int:
        found = re.search(
            r"char data;\s+offset:(\d+);\s+size:(\d+);", self._read("events/header_page")
        )
        if found is None:
            raise OSError(0, "events/header_page does not say how long a page is")
        return int(found[1]) + int(found[2])

    def _format(self, name: str) -> str:
        return self._read("events/" + name.replace(":", "/") + "/format")

    def _read(self, file: str) -> str:
        return (self._instance / file).read_text(encoding="utf-8", errors="replace")

    def _write(self, file: str, text: str) -> None:
        (self._instance / file).write_text(text, encoding="utf-8")


def _number(cpu: Path) -> int:
    return int(cpu.name.removeprefix("cpu"))


def _counts(stats: str) -> dict[str, int]:
    """The whole numbers in a ``stats`` file: ``entries: 17286`` and the like."""
    return {
        name: int(value) for name, value in re.findall(r"^([\w ]+): (\d+)$", stats, re.MULTILINE)
    }


def lost_events(stats: dict[str, int]) -> int:
    """What one CPU's ring lost: overwritten, refused while it was full, or nested too deep."""
    return sum(stats.get(name, 0) for name in ("overrun", "commit overrun", "dropped events"))


def main(argument: str) -> int:
    """Runs the tracer; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us says when to stop
    config = msgspec.json.decode(argument, type=TracerConfig)
    try:
        tracer = Tracer(config)
        tracer.start()
    except OSError as error:
        _answer(TracerAnswer(failure=f"tracefs cannot be used: {error}"))
        return 0
    gc.freeze()
    _answer(TracerAnswer(missing=tracer.missing, events=len(tracer.enabled)))
    tracer.run(sys.stdin.fileno())
    stats = tracer.close()
    _answer(
        TracerAnswer(
            missing=tracer.missing,
            events=len(tracer.enabled),
            pages=tracer.pages,
            bytes=tracer.bytes,
            overruns=sum(lost_events(of_cpu) for of_cpu in stats.values()),
            busy_ns=tracer.busy_ns,
        )
    )
    return 0


def _answer(answer: TracerAnswer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
