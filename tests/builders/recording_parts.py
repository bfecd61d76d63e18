"""The order of a relay's log, and the counters of a kernel, for `recordings`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from testbed.events.link import RELAY_RECORD

DATA = Path(__file__).parent.parent / "data" / "netlink"
LEGACY_RECORD = [(n, t) for n, t in RELAY_RECORD if n not in ("sent_digest", "flags")] + [
    ("pad", "u1")
]


def numbered(records: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The same with numbers in the order of arrival: that in which a test sends may be another."""
    numbers: dict[tuple[int, int], int] = {}
    count: Counter[int] = Counter()
    for record in sorted(records, key=lambda record: record[1]):
        way, number = record[7], record[0]
        if (way, number) not in numbers:
            numbers[way, number] = count[way]
            count[way] += 1
    return [(numbers[record[7], record[0]], *record[1:]) for record in records]


def logged_at(record: tuple[int, ...]) -> int:
    """A packet is logged when it departs, or when it is decided that it will not."""
    return record[3] or record[1]


def snmp(**counters: int) -> bytes:
    """/proc/net/snmp of a kernel with these counters, each wherever it occurs in Ip and Tcp."""
    lines = (DATA / "snmp.txt").read_text().splitlines()
    for place in range(0, len(lines), 2):
        names, values = lines[place].split(), lines[place + 1].split()
        for name, value in counters.items():
            if names[0] in ("Ip:", "Tcp:") and name in names:
                values[names.index(name)] = str(value)
        lines[place + 1] = " ".join(values)
    return "\n".join([*lines, ""]).encode()
