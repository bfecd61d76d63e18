"""The relay process: `python -m testbed.network.relay CONFIG_JSON`.

It writes a line (`RelayAnswer`) when its devices are open, moves frames until its standard input
closes, and writes another line with its counts.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Final

import msgspec

from testbed.errors import RunError
from testbed.events.link import DIRECTIONS
from testbed.network.relay.config import LinkConfig, RelayAnswer, RelayConfig, WireCounts
from testbed.network.relay.forwarder import Lane, forward, open_log
from testbed.network.relay.taps import open_tap
from testbed.network.relay.wire import Wire
from testbed.recording.segments import SegmentWriter
from testbed.sandbox.syscalls import set_timer_slack

_FIFO_PRIORITY: Final = 10


def main(argument: str) -> int:
    """Runs the relay; returns its exit code."""
    config = msgspec.json.decode(argument, type=RelayConfig)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us says when to stop
    lanes: dict[str, dict[str, Lane]] = {}
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
    _answer(RelayAnswer(scheduler=scheduler))
    all_lanes = [lane for pair in lanes.values() for lane in pair.values()]
    forward(all_lanes, logs, sys.stdin.fileno())
    for lane in all_lanes:
        lane.wire.check()
        lane.log_held()
    for log in logs:
        log.close()
    counts = {
        name: {direction: _counts(lane.wire) for direction, lane in pair.items()}
        for name, pair in lanes.items()
    }
    _answer(RelayAnswer(scheduler=scheduler, counts=counts))
    return 0


def _lanes(seed: int, link: LinkConfig, log: SegmentWriter) -> dict[str, Lane]:
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
                delay_ns=wire.delay_ns,
                loss_ratio=wire.loss_ratio,
            ),
            direction=direction,
            log=log,
        )
        for direction, wire, source, sink in zip(
            DIRECTIONS, settings, taps, reversed(taps), strict=True
        )
    }


def _counts(wire: Wire) -> WireCounts:
    return WireCounts(
        arrived=wire.arrived,
        delivered=wire.delivered,
        lost=wire.lost,
        overflowed=wire.overflowed,
        held=len(wire.held),
    )


def _hurry(cpu: int | None) -> str:
    """Real-time priority where it may be had, exact timers, no collector; the scheduler's name."""
    gc.disable()
    set_timer_slack(1)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_FIFO_PRIORITY))
    except PermissionError:
        return "other"
    return "fifo"


def _answer(answer: RelayAnswer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
