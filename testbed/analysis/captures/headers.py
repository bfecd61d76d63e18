"""Ethernet, IPv4, IPv6, TCP, UDP and ICMP headers as columns.

RFC 791, 8200, 9293, 768, 792; TCP options: RFC 7323, 2018, 2883.

Rules:

- Packets are sorted into groups of equal header offsets; within a group each field is a column of a
  matrix. A group of all packets, the rule, is a slice: its columns are read where they lie.
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
Halves = npt.NDArray[np.uint16]
Places = npt.NDArray[np.intp]
Index = Places | slice
"""Rows of packets; a slice stands for all of them."""

ETHERNET_BYTES: Final = 14
IPV4: Final = 0x0800
IPV6: Final = 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
_TIMESTAMPS_ALIGNED: Final = 0x0101080A
"""NOP, NOP, timestamps, length 10: how Linux writes the option (RFC 7323, appendix A)."""


def decode_headers(rows: Rows, packets: Packets, source_mac: npt.NDArray[np.uint64]) -> None:
    """Fills the header columns of `packets` from the first bytes of each packet.

    Args:
        rows: shape (packets, at least 128 and a multiple of 4), zero beyond what was captured;
            C-contiguous.
        packets: views that are written to.
        source_mac: likewise.
    """
    halves = rows.view(">u2")
    captured = packets.captured
    source_mac[:] = halves[:, 3]
    source_mac <<= np.uint64(32)
    source_mac |= rows.view(">u4")[:, 2]
    packets.ethertype[:] = np.where(captured >= ETHERNET_BYTES, halves[:, 6], 0)
    version = rows[:, 14] >> 4
    four = (packets.ethertype == IPV4) & (version == 4) & (captured >= 34)
    six = (packets.ethertype == IPV6) & (version == 6) & (captured >= 54)
    if four.any():
        _ipv4(rows, halves, packets, _of(slice(None), four))
    if six.any():
        _ipv6(rows, halves, packets, _of(slice(None), six))


def _of(here: Index, mask: npt.NDArray[np.bool_]) -> Index:
    """Those of `here` where the mask, which has an element for each of them, is true."""
    if mask.all():
        return here
    return np.flatnonzero(mask) if isinstance(here, slice) else here[mask]


def _places(here: Index, count: int) -> Places:
    return np.arange(count)[here] if isinstance(here, slice) else here


def _word(rows: Rows, here: Index, offset: int) -> npt.NDArray[np.uint32]:
    """The 32-bit number at byte `offset`, 2 more than a multiple of 4.

    So is every field of 32 bits after an Ethernet header, if all headers are multiples of 4 long.
    """
    words = rows[:, 2 : rows.shape[1] - 2].view(">u4")
    return words[here, (offset - 2) // 4]


def _ipv4(rows: Rows, halves: Halves, packets: Packets, here: Index) -> None:
    packets.ip_tos[here] = rows[here, 15]
    packets.ip_id[here] = halves[here, 9]
    packets.ttl[here] = rows[here, 22]
    packets.source[here] = _word(rows, here, 26)
    packets.destination[here] = _word(rows, here, 30)
    header = (rows[here, 14] & 15).astype(np.int64) * 4
    whole = (header >= 20) & ((halves[here, 10] & 0x1FFF) == 0)
    packets.protocol[here] = np.where(whole, rows[here, 23], 0)
    total = halves[here, 8].astype(np.int64)
    # Total length 0: a super-packet of more than 64 KiB (BIG TCP); its size says how long it is.
    total = np.where(total == 0, packets.size[here].astype(np.int64) - ETHERNET_BYTES, total)
    for length in np.unique(header[whole]):
        mine = whole & (header == length)
        _transport(rows, halves, packets, _of(here, mine), int(length), total[mine] - length)


def _ipv6(rows: Rows, halves: Halves, packets: Packets, here: Index) -> None:
    packets.ip_tos[here] = (halves[here, 7] >> 4) & 0xFF
    packets.ttl[here] = rows[here, 21]
    packets.protocol[here] = rows[here, 20]
    packets.source[here] = ipv6_keys(rows[here, 22:38])
    packets.destination[here] = ipv6_keys(rows[here, 38:54])
    _transport(rows, halves, packets, here, 40, halves[here, 9].astype(np.int64))


def _transport(
    rows: Rows,
    halves: Halves,
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
    mine = _of(here, ported)
    packets.source_port[mine] = halves[mine, offset // 2]
    packets.destination_port[mine] = halves[mine, offset // 2 + 1]
    udp = ported & (protocol == UDP)
    if udp.any():
        packets.payload[_of(here, udp)] = np.maximum(length[udp] - 8, 0)
    icmp = ((protocol == ICMP) | (protocol == ICMPV6)) & (captured >= offset + 2)
    if icmp.any():
        typed = _of(here, icmp)
        packets.source_port[typed] = rows[typed, offset]
        packets.destination_port[typed] = rows[typed, offset + 1]
    tcp = ported & (protocol == TCP)
    if tcp.any():
        _tcp(rows, halves, packets, _of(here, tcp), offset, length[tcp])


def _tcp(
    rows: Rows,
    halves: Halves,
    packets: Packets,
    here: Index,
    offset: int,
    length: npt.NDArray[np.int64],
) -> None:
    packets.sequence[here] = _word(rows, here, offset + 4)
    packets.acknowledgement[here] = _word(rows, here, offset + 8)
    packets.flags[here] = rows[here, offset + 13]
    packets.window[here] = halves[here, offset // 2 + 7]
    header = (rows[here, offset + 12] >> 4).astype(np.int64) * 4
    packets.overlong[here] = header > length
    packets.payload[here] = np.where(header >= 20, np.maximum(length - header, 0), 0)
    end = np.minimum(np.minimum(offset + header, packets.captured[here]), rows.shape[1])
    first = offset + 20
    aligned = (end == first + 12) & (_word(rows, here, first) == _TIMESTAMPS_ALIGNED)
    stamped = _of(here, aligned)
    packets.timestamp[stamped] = _word(rows, stamped, first + 4)
    packets.timestamp_echo[stamped] = _word(rows, stamped, first + 8)
    other = ~aligned & (end > first)
    if other.any():
        _options(rows, packets, _places(here, len(rows))[other], first, end[other])


def _options(
    rows: Rows, packets: Packets, here: Places, first: int, end: npt.NDArray[np.int64]
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
    here: Places,
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


def _bytes32(rows: Rows, here: Places, position: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    value = np.zeros(here.size, np.uint32)
    for step in range(4):
        value = (value << np.uint32(8)) | rows[here, position + step]
    return value
