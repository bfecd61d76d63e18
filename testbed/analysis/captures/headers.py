"""Ethernet, IPv4, IPv6, TCP, UDP and ICMP headers as columns.

RFC 791, 8200, 9293, 768, 792; TCP options: RFC 7323, 2018, 2883.

Rules:

- Packets are sorted into groups of equal header offsets; within a group each field is a column of a
  matrix.
- A header that was not captured whole leaves its fields at 0. So does what is not understood: VLAN
  tags, tunnels, IPv6 extension headers, later fragments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.captures.addresses import ipv6_keys

if TYPE_CHECKING:
    from testbed.analysis.captures.packets import Packets

Rows = npt.NDArray[np.uint8]
Index = npt.NDArray[np.intp]

ETHERNET_BYTES: Final = 14
IPV4: Final = 0x0800
IPV6: Final = 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
_TIMESTAMPS_ALIGNED: Final = 0x0101080A
"""NOP, NOP, timestamps, length 10: how Linux writes the option (RFC 7323, appendix A)."""


def decode_headers(rows: Rows, packets: Packets) -> None:
    """Fills the header columns of `packets` from the first bytes of each packet.

    Args:
        rows: shape (packets, at least 128), zero beyond what was captured; C-contiguous.
        packets: views that are written to.
    """
    halves = rows.view(">u2")
    captured = packets.captured
    mac = halves[:, 3:6].astype(np.uint64)
    packets.source_mac[:] = (mac[:, 0] << 32) | (mac[:, 1] << 16) | mac[:, 2]
    packets.ethertype[:] = np.where(captured >= ETHERNET_BYTES, halves[:, 6], 0)
    version = rows[:, 14] >> 4
    four = (packets.ethertype == IPV4) & (version == 4) & (captured >= 34)
    six = (packets.ethertype == IPV6) & (version == 6) & (captured >= 54)
    if four.any():
        _ipv4(rows, halves, packets, four)
    if six.any():
        _ipv6(rows, halves, packets, np.flatnonzero(six))


def _word(
    halves: npt.NDArray[np.uint16], rows: Index | slice, column: int
) -> npt.NDArray[np.uint32]:
    """The 32-bit number at 16-bit column `column`."""
    high = halves[rows, column].astype(np.uint32)
    return (high << np.uint32(16)) | halves[rows, column + 1]


def _ipv4(
    rows: Rows, halves: npt.NDArray[np.uint16], packets: Packets, four: npt.NDArray[np.bool_]
) -> None:
    here = np.flatnonzero(four)
    packets.ip_tos[here] = rows[here, 15]
    packets.ip_id[here] = halves[here, 9]
    packets.ttl[here] = rows[here, 22]
    packets.source[here] = _word(halves, here, 13)
    packets.destination[here] = _word(halves, here, 15)
    header = (rows[here, 14] & 15).astype(np.int64) * 4
    whole = (header >= 20) & ((halves[here, 10] & 0x1FFF) == 0)
    packets.protocol[here] = np.where(whole, rows[here, 23], 0)
    total = halves[here, 8].astype(np.int64)
    # Total length 0: a super-packet of more than 64 KiB (BIG TCP); its size says how long it is.
    total = np.where(total == 0, packets.size[here].astype(np.int64) - ETHERNET_BYTES, total)
    for length in np.unique(header[whole]):
        mine = whole & (header == length)
        _transport(rows, halves, packets, here[mine], int(length), total[mine] - length)


def _ipv6(rows: Rows, halves: npt.NDArray[np.uint16], packets: Packets, here: Index) -> None:
    packets.ip_tos[here] = (halves[here, 7] >> 4) & 0xFF
    packets.ttl[here] = rows[here, 21]
    packets.protocol[here] = rows[here, 20]
    packets.source[here] = ipv6_keys(rows[here, 22:38])
    packets.destination[here] = ipv6_keys(rows[here, 38:54])
    _transport(rows, halves, packets, here, 40, halves[here, 9].astype(np.int64))


def _transport(
    rows: Rows,
    halves: npt.NDArray[np.uint16],
    packets: Packets,
    here: Index,
    ip_bytes: int,
    length: npt.NDArray[np.int64],
) -> None:
    """TCP, UDP and ICMP of packets whose IP header has `ip_bytes`.

    `length` is what IP says follows it.
    """
    offset = ETHERNET_BYTES + ip_bytes
    captured = packets.captured[here]
    protocol = packets.protocol[here]
    ported = ((protocol == TCP) & (captured >= offset + 20)) | (
        (protocol == UDP) & (captured >= offset + 8)
    )
    if offset + 20 > rows.shape[1]:
        return
    mine = here[ported]
    packets.source_port[mine] = halves[mine, offset // 2]
    packets.destination_port[mine] = halves[mine, offset // 2 + 1]
    udp = ported & (protocol == UDP)
    packets.payload[here[udp]] = np.maximum(length[udp] - 8, 0)
    icmp = ((protocol == ICMP) | (protocol == ICMPV6)) & (captured >= offset + 2)
    packets.source_port[here[icmp]] = rows[here[icmp], offset]
    packets.destination_port[here[icmp]] = rows[here[icmp], offset + 1]
    tcp = ported & (protocol == TCP)
    if tcp.any():
        _tcp(rows, halves, packets, here[tcp], offset, length[tcp])


def _tcp(
    rows: Rows,
    halves: npt.NDArray[np.uint16],
    packets: Packets,
    here: Index,
    offset: int,
    length: npt.NDArray[np.int64],
) -> None:
    half = offset // 2
    packets.sequence[here] = _word(halves, here, half + 2)
    packets.acknowledgement[here] = _word(halves, here, half + 4)
    packets.flags[here] = rows[here, offset + 13]
    packets.window[here] = halves[here, half + 7]
    header = (rows[here, offset + 12] >> 4).astype(np.int64) * 4
    packets.overlong[here] = header > length
    packets.payload[here] = np.where(header >= 20, np.maximum(length - header, 0), 0)
    end = np.minimum(np.minimum(offset + header, packets.captured[here]), rows.shape[1])
    first = offset + 20
    aligned = (end == first + 12) & (_word(halves, here, first // 2) == _TIMESTAMPS_ALIGNED)
    packets.timestamp[here[aligned]] = _word(halves, here[aligned], first // 2 + 2)
    packets.timestamp_echo[here[aligned]] = _word(halves, here[aligned], first // 2 + 4)
    other = ~aligned & (end > first)
    if other.any():
        _options(rows, packets, here[other], first, end[other])


def _options(
    rows: Rows, packets: Packets, here: Index, first: int, end: npt.NDArray[np.int64]
) -> None:
    """TCP options one after the other, all packets of `here` at once.

    Ends where they stop making sense.
    """
    position = np.full(here.size, first, np.int64)
    while here.size:
        kind = rows[here, position]
        room = end - position
        following = rows[here, np.minimum(position + 1, rows.shape[1] - 1)].astype(np.int64)
        size = np.where(kind == 1, 1, following)
        alive = (kind != 0) & (size >= np.where(kind == 1, 1, 2)) & (size <= room)
        stamps = alive & (kind == 8) & (size == 10)
        if stamps.any():
            mine, at = here[stamps], position[stamps]
            packets.timestamp[mine] = _bytes32(rows, mine, at + 2)
            packets.timestamp_echo[mine] = _bytes32(rows, mine, at + 6)
        sack = alive & (kind == 5) & (size >= 10) & (size % 8 == 2)
        if sack.any():
            _sack(rows, packets, here[sack], position[sack], size[sack])
        position = position + size
        alive &= position < end
        here, position, end = here[alive], position[alive], end[alive]


def _sack(
    rows: Rows,
    packets: Packets,
    here: Index,
    position: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
) -> None:
    packets.sack_blocks[here] = size // 8
    left, right = _bytes32(rows, here, position + 2), _bytes32(rows, here, position + 6)
    old = _not_after(right, packets.acknowledgement[here])
    inside = np.zeros(here.size, np.bool_)
    more = np.flatnonzero(size >= 18)
    if more.size:
        second = position[more]
        inside[more] = _not_after(_bytes32(rows, here[more], second + 10), left[more]) & _not_after(
            right[more], _bytes32(rows, here[more], second + 14)
        )
    packets.dsack[here] = old | inside


def _not_after(
    earlier: npt.NDArray[np.uint32], later: npt.NDArray[np.uint32]
) -> npt.NDArray[np.bool_]:
    """Whether `earlier` <= `later` in sequence-number arithmetic (RFC 9293, 3.4)."""
    return (later - earlier).astype(np.int32) >= 0


def _bytes32(rows: Rows, here: Index, position: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    value = np.zeros(here.size, np.uint32)
    for step in range(4):
        value = (value << np.uint32(8)) | rows[here, position + step]
    return value
