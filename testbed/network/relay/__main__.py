"""The relay process: `python -m testbed.network.relay`.

Standard input is its lifeline and brings lines of JSON: first a `RelayConfig`, then any number of
`RelayOrder`. It writes a line (`RelayAnswer`) when its devices are open and one to each order,
moves frames until its standard input ends, and writes a last line with its counts.

Why standard input and not an argument: a list of packets or a trace may be longer than an argument
may be (MAX_ARG_STRLEN, 128 KiB).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from typing import Final

import msgspec

from testbed.errors import RunError
from testbed.network.relay.config import (
    LinkConfig,
    RelayAnswer,
    RelayConfig,
    RelayOrder,
    WireConfig,
    WireCounts,
)
from testbed.network.relay.forwarder import Lane, forward, open_log
from testbed.network.relay.taps import dropped_by_ring, open_tap
from testbed.network.relay.wire import Wire
from testbed.recording.segments import SegmentWriter
from testbed.sandbox.syscalls import keep_freed_memory, set_timer_slack
from testbed.scenario.model import DIRECTIONS, DirectionName

_FIFO_PRIORITY: Final = 10
_FULL_FRAME_BYTES: Final = 1514
_FIRST_FRAMES: Final = 4096
_KEPT_BYTES: Final = 256 * 2**20
"""More than the frames of any wire that the relay can keep up with: 1 Gbit/s for a second are 125
MB.
"""


def main() -> int:
    """Runs the relay; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us says when to stop
    lines = Lines(sys.stdin.fileno())
    config = msgspec.json.decode(lines.first(), type=RelayConfig)
    lanes: dict[str, dict[DirectionName, Lane]] = {}
    logs: list[SegmentWriter] = []
    try:
        for link in config.links:
            log = open_log(link.log_fd, link.name)
            logs.append(log)
            lanes[link.name] = _lanes(config.seed, link, log)
    except RunError as error:
        print(f"testbed: error: {error}", file=sys.stderr)
        return error.exit_code
    scheduler = _hurry(config.cpu)
    relay = Relay(lanes, lines, scheduler)
    _answer(RelayAnswer(scheduler=scheduler))
    all_lanes = [lane for pair in lanes.values() for lane in pair.values()]
    forward(all_lanes, logs, sys.stdin.fileno(), relay.take_orders)
    for lane in all_lanes:
        lane.wire.check()
        lane.log_held()
    for log in logs:
        log.close()
    counts = {link.name: _counts(link, lanes[link.name]) for link in config.links}
    _answer(RelayAnswer(scheduler=scheduler, counts=counts))
    return 0


class Relay:
    """What the orders on standard input act on."""

    def __init__(
        self, lanes: dict[str, dict[DirectionName, Lane]], lines: Lines, scheduler: str
    ) -> None:
        self._lanes = lanes
        self._lines = lines
        self._scheduler = scheduler

    def take_orders(self) -> bool:
        """Takes the orders that have come and answers each; False when standard input has ended."""
        lines, ended = self._lines.read()
        for line in lines:
            self._take(msgspec.json.decode(line, type=RelayOrder))
        return not ended

    def _take(self, order: RelayOrder) -> None:
        if order.start_ns is not None:
            for pair in self._lanes.values():
                for lane in pair.values():
                    lane.wire.start(order.start_ns)
        by_lane: dict[tuple[str, DirectionName], list[tuple[int, WireConfig]]] = {}
        for change in order.changes:
            key = (change.link, change.direction)
            by_lane.setdefault(key, []).append((change.at_ns, change.wire))
        for (link, direction), changes in by_lane.items():
            self._lanes[link][direction].schedule(changes)
        _answer(RelayAnswer(scheduler=self._scheduler, taken_ns=time.monotonic_ns()))


class Lines:
    """The lines of a descriptor, as they come."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def first(self) -> bytes:
        """The first line; waits for it.

        Raises:
            EOFError: there is none.
        """
        while b"\n" not in self._rest:
            part = os.read(self._descriptor, 1 << 20)
            if not part:
                raise EOFError("standard input ended before the relay was told what to do")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def read(self) -> tuple[list[bytes], bool]:
        """The whole lines that have come, and whether the descriptor has ended."""
        part = os.read(self._descriptor, 1 << 20)
        *lines, self._rest = (self._rest + part).split(b"\n")
        return lines, not part


def _lanes(seed: int, link: LinkConfig, log: SegmentWriter) -> dict[DirectionName, Lane]:
    taps = [open_tap(end.node, end.interface) for end in link.ends]
    settings = (link.forward, link.reverse)
    return {
        direction: Lane(
            source=source,
            sink=sink,
            wire=Wire(
                seed=seed,
                link=link.name,
                direction=direction,
                config=config,
                start_ns=time.monotonic_ns(),
            ),
            direction=direction,
            log=log,
        )
        for direction, config, source, sink in zip(
            DIRECTIONS, settings, taps, reversed(taps), strict=True
        )
    }


def _counts(link: LinkConfig, pair: dict[DirectionName, Lane]) -> dict[str, WireCounts]:
    """What became of all packets of a link, by direction."""
    return {
        direction: msgspec.structs.replace(
            pair[direction].wire.counts(),
            ring_dropped=dropped_by_ring(sender.node, sender.interface),
        )
        for direction, sender in zip(DIRECTIONS, link.ends, strict=True)
    }


def _hurry(cpu: int | None) -> str:
    """Real-time priority where it may be had, exact timers, no collector; the scheduler's name."""
    gc.disable()
    set_timer_slack(1)
    keep_freed_memory(_KEPT_BYTES)
    _touch_memory()
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_FIFO_PRIORITY))
    except PermissionError:
        return "other"
    return "fifo"


def _touch_memory() -> None:
    """Takes the page faults of the first frames now: later they would be lateness."""
    frames = [bytes(_FULL_FRAME_BYTES) for _ in range(_FIRST_FRAMES)]
    frames.clear()


def _answer(answer: RelayAnswer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
