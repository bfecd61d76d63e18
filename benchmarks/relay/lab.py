"""The measurement itself, in a sandbox: `python -m benchmarks.relay.lab ORDERS_JSON`.

It writes a line of JSON for the conditions (`Standing`), and then one for each turn.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from benchmarks.relay import traffic
from benchmarks.relay.ends import Pair, pair
from benchmarks.relay.results import DELAY_P50, DELAY_P99, LARGE, SMALL, TCP, Turn, percentile
from benchmarks.relay.subjects import (
    FLOOD_PRIORITY,
    LAB_PRIORITY,
    SUBJECTS,
    Subject,
    Workshop,
)
from testbed.errors import TestbedError


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the lab is told."""

    folder: str
    """With the compiled programs, where there are any."""
    rounds: int
    tcp_s: int
    flood_s: float
    probe_s: float
    subjects: list[str]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every turn, as the lab found it."""

    scheduler: str
    congestion_control: str


def main(argument: str) -> int:
    """Runs the turns."""
    orders = msgspec.json.decode(argument, type=Orders)
    gc.disable()
    workshop = Workshop(Path(orders.folder), fifo=_hurry())
    congestion_control = _congestion_control()
    _say(
        Standing(
            scheduler="fifo" if workshop.fifo else "other", congestion_control=congestion_control
        )
    )
    taking_part = [subject for subject in SUBJECTS if subject.name in orders.subjects]
    for turn in range(orders.rounds * len(taking_part)):
        subject = taking_part[turn % len(taking_part)]
        gauge = _turn(orders, workshop, subject, pair(turn, subject.ends, congestion_control))
        _say(
            Turn(
                subject=subject.name,
                round_number=turn // len(taking_part),
                values=gauge.values,
                problems=gauge.problems,
                at_least=gauge.at_least,
            )
        )
    return 0


class _Gauge:
    """Takes the measurements of one turn, and notes what fails."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.problems: dict[str, str] = {}
        self.at_least: list[str] = []

    def take(self, name: str, metrics: Sequence[str], measure: Callable[[], list[float]]) -> None:
        """Calls `measure` for the values of `metrics`."""
        try:
            self.values.update(zip(metrics, measure(), strict=True))
        except TestbedError as error:
            self.problems.update(dict.fromkeys(metrics, f"{name}: {error}"))


def _turn(
    orders: Orders, workshop: Workshop, subject: Subject, pair: AbstractContextManager[Pair]
) -> _Gauge:
    gauge = _Gauge()
    program = workshop.folder / "flood"
    flood = workshop.hurried([str(program)], FLOOD_PRIORITY)
    workshop.last_words.write_bytes(b"")
    try:
        with pair as ends, subject.between(ends, workshop):
            traffic.wait_until_joined(ends)

            def delays() -> list[float]:
                added = traffic.added_delays_ns(ends, subject.delay_ns, orders.probe_s)
                return [percentile(added, 50), percentile(added, 99)]

            def flooded(metric: str, size_bytes: int) -> list[float]:
                found = traffic.flooded(ends, flood, size_bytes, orders.flood_s)
                if not found.saturated:
                    gauge.at_least.append(metric)
                return [found.frames_per_s]

            gauge.take("delay", (DELAY_P50, DELAY_P99), delays)
            gauge.take("TCP", (TCP,), lambda: [traffic.tcp_bit_s(ends, orders.tcp_s)])
            if program.exists():
                gauge.take("1514-byte frames", (LARGE,), lambda: flooded(LARGE, 1514))
                gauge.take("60-byte frames", (SMALL,), lambda: flooded(SMALL, 60))
            else:
                gauge.problems[LARGE] = "frames: cc is not installed (Debian package gcc)"
    except TestbedError as error:
        gauge.problems[""] = f"{error}{_last_line(workshop.last_words)}"
    return gauge


def _last_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    return f" ({lines[-1]})" if lines else ""


def _hurry() -> bool:
    """SCHED_FIFO for this process, but for none that it starts; whether it is allowed here."""
    try:
        os.sched_setscheduler(
            0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(LAB_PRIORITY)
        )
    except PermissionError:
        return False
    return True


def _congestion_control() -> str:
    """BBR where the kernel has it, for 1 % loss alone keeps the others far below every subject."""
    known = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text(encoding="ascii")
    names = known.split()
    return "bbr" if "bbr" in names else names[0]


def _say(line: Standing | Turn) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
