"""Reads the state of all nodes on a fixed beat.

Rules:

- The beat is absolute: sample k is due at start + k * interval, so that lateness does not add up. A
  beat that has passed is left out and counted, never made up for.
- A sample is the bytes that the kernel gave, with the time before and after: decoding is offline
  work.
- Counters change slowly and their text is long: they are read every `COUNTERS_EVERY` beats, and at
  both ends; so are the descriptors of processes.
- Reading states takes at most a quarter of a CPU: where the nodes are so many that it would take
  more, the beat is slower from the start, and the sampler says so. It would disturb what it
  observes, and a beat that is left out now and then is worse than one that is regular.
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from statistics import median
from typing import Final

import msgspec

from testbed.probes.sources import (
    KINDS,
    Descriptors,
    NetlinkDump,
    ProcFile,
    Source,
    link_names,
)
from testbed.recording.segments import SegmentHeader, SegmentWriter
from testbed.sandbox.netns import visiting
from testbed.scenario.model import IpVersion
from testbed.units import NS_PER_S

COUNTERS_EVERY: Final = 10
_CPU_SHARE: Final = 0.25
_TRIALS: Final = 3
_FLUSH_NS: Final = NS_PER_S


class SampledNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node to sample."""

    name: str
    namespace: str
    """The path of its network namespace."""
    sockets: bool
    """Whether it has TCP sockets worth reading: routers and switches do not."""
    counters: bool = True
    """Whether its counters of IP, TCP and devices are read."""


class SampledProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process whose open descriptors are counted."""

    name: str
    node: str
    process_id: int


class SamplerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The sampler's one argument, as JSON."""

    nodes: list[SampledNode]
    processes: list[SampledProcess] = []
    interval_ns: int
    segment_fd: int
    ip: IpVersion = 4
    """Whose sockets and counters are read."""


class SamplerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A line on the sampler's standard output: when it is ready, and when it ends."""

    samples: int = 0
    missed: int = 0
    """Beats that were left out because the one before took too long."""
    busy_ns: int = 0
    """Time spent reading."""
    interval_ns: int = 0
    """The beat of states: as asked for, or slower where that would take too much of a CPU."""


def beat_ns(asked_ns: int, cost_ns: int) -> int:
    """The beat at which reading states that takes `cost_ns` takes at most a quarter of a CPU."""
    return max(asked_ns, round(cost_ns / _CPU_SHARE))


@dataclass(slots=True)
class _Node:
    index: int
    states: list[Source]
    counters: list[Source]


class Sampler:
    """The sources of all nodes and the segment that their bytes go to."""

    def __init__(self, config: SamplerConfig) -> None:
        header = SegmentHeader(
            layout="frames",
            source="sampler",
            process="sampler",
            kinds=list(KINDS),
            nodes=[node.name for node in config.nodes],
        )
        self._segment = SegmentWriter(config.segment_fd, header)
        self.interval_ns = config.interval_ns
        self._ip: IpVersion = config.ip
        self._nodes = [self._open(index, node) for index, node in enumerate(config.nodes)]
        for process in config.processes:
            node = next(n for n in self._nodes if config.nodes[n.index].name == process.node)
            node.counters.append(Descriptors(process.name, process.process_id))
        self.samples = self.missed = self.busy_ns = self._flush_ns = 0

    def _open(self, index: int, node: SampledNode) -> _Node:
        files = ["snmp", "netstat", "dev", *(["snmp6"] if self._ip == 6 else [])]
        with visiting(node.namespace):
            now_ns = time.monotonic_ns()
            kind = KINDS.index("link_names")
            self._segment.frame(now_ns, now_ns, link_names(), kind=kind, node=index)
            states: list[Source] = [NetlinkDump("qdisc")]
            if node.sockets:
                states.append(NetlinkDump("inet_diag", self._ip))
            counters: list[Source] = [ProcFile(name) for name in files if node.counters]
        return _Node(index, states, counters)

    def run(self, stop: int) -> None:
        """Samples until the descriptor `stop` is readable, and once more then."""
        counters_ns = COUNTERS_EVERY * self.interval_ns
        self._sample(counters=True)
        costs_ns = [self._sample(counters=False) for _ in range(_TRIALS)]
        self.interval_ns = beat_ns(self.interval_ns, round(median(costs_ns)))
        start_ns = counted_ns = time.monotonic_ns()
        beat = 0
        while True:
            passed = (time.monotonic_ns() - start_ns) // self.interval_ns
            self.missed += max(0, passed - beat)
            beat = max(beat, passed) + 1
            due_ns = start_ns + beat * self.interval_ns
            wait_ns = max(0, due_ns - time.monotonic_ns())
            ready, _, _ = select.select([stop], [], [], wait_ns / NS_PER_S)
            if ready:
                break
            counters = due_ns - counted_ns >= counters_ns
            if counters:
                counted_ns = due_ns
            self._sample(counters=counters)
        self._sample(counters=True)
        self._segment.close()

    def _sample(self, *, counters: bool) -> int:
        """Reads all sources once; returns how long it took."""
        began_ns = time.monotonic_ns()
        for node in self._nodes:
            for source in (*node.states, *node.counters) if counters else node.states:
                before_ns = time.monotonic_ns()
                payload = source.read()
                if not payload:
                    continue
                self._segment.frame(
                    before_ns,
                    time.monotonic_ns(),
                    payload,
                    kind=KINDS.index(source.kind),
                    node=node.index,
                )
        if began_ns >= self._flush_ns:
            self._flush_ns = began_ns + _FLUSH_NS
            self._segment.flush()
        self.samples += 1
        took_ns = time.monotonic_ns() - began_ns
        self.busy_ns += took_ns
        return took_ns
