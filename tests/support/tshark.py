"""tshark as an oracle: what it says of each packet, and the rules by which it says it.

The rules are those of `tcp_analyze_sequence_number` (Wireshark 4.0, epan/dissectors/packet-tcp.c),
as far as they tell the kinds of late segments apart. docs/reference/events/tcp.md, "Compared with
tshark", has them in words.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from testbed.analysis.captures import Packets
from testbed.analysis.metrics.streams import FIN, RST, SYN
from testbed.units import NS_PER_S

KINDS: Final = (
    "fast_retransmission", "spurious_retransmission", "out_of_order", "retransmission",
)  # fmt: skip
"""Of a segment below the highest number sent before. tshark marks the first two as the last one
too."""
_OTHERS: Final = (
    "duplicate_ack", "zero_window", "lost_segment", "keep_alive", "keep_alive_ack",
    "zero_window_probe", "zero_window_probe_ack",
)  # fmt: skip
FAST_NS: Final = 20_000_000
"""A fast retransmission comes within this time of the last acknowledgement."""
UNKNOWN_RTT_NS: Final = 3_000_000
"""What counts as "shortly after" where the handshake was not seen; else its round trip."""


@dataclass(frozen=True)
class Seen:
    """What tshark says, as rows of the capture (frame number less one)."""

    rows: dict[str, set[int]]
    """By kind; of `KINDS` each row in just one."""
    handshake_ns: dict[int, int]
    """Per row the round trip of its connection's handshake (tcp.analysis.initial_rtt)."""

    @property
    def late(self) -> dict[int, str]:
        """The kind of each late segment."""
        return {row: kind for kind in KINDS for row in self.rows[kind]}


def tshark(path: Path) -> Seen:
    """Lets tshark analyse a capture."""
    names = ["initial_rtt", *KINDS, *_OTHERS]
    argv = ["tshark", "-n", "-r", str(path), "-T", "fields", "-e", "frame.number"]
    argv += [word for name in names for word in ("-e", f"tcp.analysis.{name}")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    found = Seen({name: set() for name in names[1:]}, {})
    for line in done.stdout.splitlines():
        number, rtt, *marks = line.split("\t")
        row = int(number) - 1
        if rtt:
            found.handshake_ns[row] = round(float(rtt) * NS_PER_S)
        for name, mark in zip(names[1:], marks, strict=True):
            if mark:
                found.rows[name].add(row)
    found.rows["retransmission"] -= (
        found.rows["fast_retransmission"] | found.rows["spurious_retransmission"]
    )
    return found


@dataclass
class _Way:
    """One direction of a connection, as tshark remembers it."""

    next_sequence: int | None = None
    next_t_ns: int = 0
    last_ack: int | None = None
    last_ack_t_ns: int = 0
    duplicates: int = 0
    window: int | None = None


@dataclass
class Rules:
    """The stated rules, packet by packet; keep-alives and probes of a window left out."""

    packets: Packets
    handshake_ns: dict[int, int]
    _ways: dict[tuple[int, ...], _Way] = field(default_factory=dict)

    def late(self) -> dict[int, str]:
        """The kind of each segment that is below the highest number before it."""
        return dict(self._late())

    def _late(self) -> Iterator[tuple[int, str]]:
        for row in range(self.packets.count):
            if self.packets.protocol[row] == 6 and not self.packets.flags[row] & RST:
                kind = self._packet(row)
                if kind is not None:
                    yield row, kind

    def _packet(self, row: int) -> str | None:
        p = self.packets
        here = (int(p.source[row]), int(p.source_port[row]))
        there = (int(p.destination[row]), int(p.destination_port[row]))
        flags, sequence, t_ns = int(p.flags[row]), int(p.sequence[row]), int(p.t_ns[row])
        if flags & SYN:
            way = self._ways.get((*here, *there))
            if way is None or way.next_sequence != (sequence + 1) % 2**32:
                self._ways[(*here, *there)] = _Way()
        own = self._ways.setdefault((*here, *there), _Way())
        other = self._ways.setdefault((*there, *here), _Way())
        control = bool(flags & (SYN | FIN))
        end = (sequence + int(p.payload[row]) + control) % 2**32
        carries = bool(p.payload[row]) or control
        self._acknowledges(own, row, carries=carries)
        kind = None
        if carries and own.next_sequence is not None and _below(sequence, own.next_sequence):
            kind = self._kind(own, other, row, end)
        if own.next_sequence is None or _below(own.next_sequence, end):
            own.next_sequence, own.next_t_ns = end, t_ns
        return kind

    def _acknowledges(self, own: _Way, row: int, *, carries: bool) -> None:
        p = self.packets
        ack, window = int(p.acknowledgement[row]), int(p.window[row])
        repeated = ack == own.last_ack and not carries and p.sequence[row] == own.next_sequence
        if repeated and window and window == own.window:
            own.duplicates += 1
        if ack != own.last_ack:
            own.duplicates = 0
        own.last_ack, own.last_ack_t_ns, own.window = ack, int(p.t_ns[row]), window

    def _kind(self, own: _Way, other: _Way, row: int, end: int) -> str:
        t_ns, sequence = int(self.packets.t_ns[row]), int(self.packets.sequence[row])
        payload = int(self.packets.payload[row])
        acked = other.last_ack
        if payload and acked and not _below(acked, (sequence + payload) % 2**32):
            return "spurious_retransmission"
        if other.duplicates >= 2 and acked == sequence and t_ns - other.last_ack_t_ns < FAST_NS:
            return "fast_retransmission"
        near_ns = self.handshake_ns.get(row, UNKNOWN_RTT_NS)
        if t_ns - own.next_t_ns < near_ns and end != own.next_sequence:
            return "out_of_order"
        return "retransmission"


def _below(first: int, second: int) -> bool:
    """Whether `first` < `second` in sequence-number arithmetic (RFC 9293, 3.4)."""
    return 0 < (second - first) % 2**32 < 2**31
