"""Makes the traces of capacity that come with the testbed, testbed/scenario/traces/*.trace.

    python -m tests.builders.traces

writes them anew. Models with a fixed seed and no recordings of anybody's network, so that they can
be given away and explained; a test compares the files with what this makes. Small, as they are read
by people and kept in the package: 10 to 30 seconds each, and they repeat.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "testbed" / "scenario" / "traces"
PACKET_BITS = 1500 * 8


def normal(draw: random.Random) -> float:
    """A number of about the standard normal distribution, the same in every version of Python."""
    return sum(draw.random() for _ in range(12)) - 6


def opportunities(rates_mbit_s: Iterable[float]) -> Iterator[int]:
    """Times of opportunities in ms, for the rate in Mbit/s of each millisecond from 0 on."""
    credit_bits = 0.0
    for time_ms, rate in enumerate(rates_mbit_s, start=1):
        credit_bits += rate * 1000
        while credit_bits >= PACKET_BITS:
            credit_bits -= PACKET_BITS
            yield time_ms


def steady() -> list[int]:
    """One packet each millisecond."""
    return [1]


def cellular_drive() -> list[int]:
    """Log-normal rate that changes every 100 ms, and fades behind buildings."""
    draw = random.Random(1)
    rates: list[float] = []
    level = 0.0
    fade_ms = 0
    while len(rates) < 30_000:
        level = 0.93 * level + 0.35 * normal(draw)
        if not fade_ms and draw.random() < 0.02:
            fade_ms = 600 + int(1400 * draw.random())
        rate = 0.5 if fade_ms else min(20.0, max(0.5, 2.0 * math.exp(level * 1.1)))
        fade_ms = max(0, fade_ms - 100)
        rates += [rate] * 100
    return [*opportunities(rates), len(rates)]


def wifi_bursts() -> list[int]:
    """Aggregates of 4 to 16 packets at once, with waits for the others on the channel."""
    draw = random.Random(2)
    times: list[int] = []
    time_ms = 0
    while time_ms < 9_950:
        waits_for_others = draw.random() < 0.12
        time_ms += 20 + int(60 * draw.random()) if waits_for_others else 3 + int(16 * draw.random())
        times += [time_ms] * (4 + int(13 * draw.random()))
    return [*times, 10_000]


def satellite_handover() -> list[int]:
    """Another satellite, and another rate, every 15 s; 300 ms without any between them."""
    rates: list[float] = []
    for rate_mbit_s in (3.0, 1.6):
        for ms in range(15_000):
            wave = 0.15 * math.sin(2 * math.pi * ms / 2_500)
            rates.append(0.0 if ms < 300 else rate_mbit_s * (1 + wave))
    return [*opportunities(rates), len(rates)]


TRACES: dict[str, tuple[Callable[[], list[int]], str]] = {
    "steady_12mbit": (steady, "The same rate always, for comparison with the others"),
    "cellular_drive": (cellular_drive, "A phone in a car: 0.5 to 20 Mbit/s with fades"),
    "wifi_bursts": (wifi_bursts, "A shared wireless channel: bursts, waits up to 80 ms"),
    "satellite_handover": (satellite_handover, "Low orbit: no packet for 300 ms every 15 s"),
}


def text_of(name: str) -> str:
    """The file of a trace."""
    make, summary = TRACES[name]
    times = make()
    mean_mbit_s = len(times) * PACKET_BITS / times[-1] / 1000
    period = f"{times[-1] / 1000:g} s" if times[-1] >= 1000 else f"{times[-1]} ms"
    head = [
        f"# {summary}; mean {mean_mbit_s:.3g} Mbit/s, repeats after {period}.",
        "# Made by tests/builders/traces.py, from no recording. For Mahimahi: grep -v '^#'",
    ]
    return "\n".join([*head, *(str(time) for time in times)]) + "\n"


def main() -> None:
    """Writes all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name in TRACES:
        (FOLDER / f"{name}.trace").write_text(text_of(name), encoding="ascii")


if __name__ == "__main__":
    main()
