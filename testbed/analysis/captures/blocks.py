"""pcapng as columns of blocks (draft-ietf-opsawg-pcapng).

Rules:

- One pass over the block lengths in Python, everything else as numpy gathers over the file's 32-bit
  words (blocks and packet data are aligned to 4 bytes by the format).
- A file that ends in the middle of a block, or whose blocks stop making sense, is read up to there;
  `RawCapture.damage` says where and why. Only a file that is no pcapng at all is an error.
- Both byte orders are read; a second section must have the first one's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.errors import RecordingError
from testbed.units import NS_PER_S

Words = npt.NDArray[np.uint32]

SECTION_HEADER: Final = 0x0A0D0D0A
_BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
_INTERFACE: Final = 1
_OLD_PACKET: Final = 2
_SIMPLE_PACKET: Final = 3
_STATISTICS: Final = 5
_ENHANCED_PACKET: Final = 6
_SCAN_WORDS: Final = 1 << 22
"""Words that are looked through at once: a mask of 4 MiB."""
_PACKET_WORDS: Final = 7
"""Words of an enhanced packet block before its data."""
_LEAST_BYTES: Final = {_ENHANCED_PACKET: 32, _INTERFACE: 20, _STATISTICS: 24}
"""Of a block of this type; of others 12."""
_LINKTYPE_ETHERNET: Final = 1
_MAX_OFFSET_S: Final = 4_000_000_000
"""if_tsoffset beyond this (more than a century) is damage; kept in range so that nothing overflows
silently."""
_OTHER_FORMATS: Final = {
    0xA1B2C3D4: "a pcap file",
    0xD4C3B2A1: "a pcap file",
    0xA1B23C4D: "a pcap file with nanosecond stamps",
    0x4D3CB2A1: "a pcap file with nanosecond stamps",
}


@dataclass(frozen=True, slots=True)
class CaptureInterface:
    """One interface of a capture."""

    name: str
    snaplen_bytes: int
    """0: not limited."""
    received_packets: int | None
    """What the interface had to offer, as counted by the kernel; None: the capture was not
    closed."""
    dropped_packets: int | None
    """Of these, lost by the capture itself; None: the capture was not closed."""


@dataclass(frozen=True, slots=True)
class RawCapture:
    """The packets of a file as they lie in it."""

    words: Words
    """The file, as it lies on disk."""
    interfaces: list[CaptureInterface]
    interface: npt.NDArray[np.uint8]
    """Index into `interfaces`, shape (packets,)."""
    stamp_ns: npt.NDArray[np.int64]
    """CLOCK_REALTIME nanoseconds."""
    captured: npt.NDArray[np.uint32]
    """Bytes in the file."""
    size: npt.NDArray[np.uint32]
    """Bytes on the wire."""
    start: npt.NDArray[np.int64]
    """Word at which a packet's data begins."""
    damage: list[str] = field(default_factory=list)
    """What is missing and why, in words."""


@dataclass(slots=True)
class _Interface:
    name: str
    link_type: int
    snaplen_bytes: int
    resolution: int = 6
    offset_s: int = 0
    received: int | None = None
    dropped: int | None = None


def read_blocks(path: Path) -> RawCapture:
    """The packets of a pcapng file.

    Raises:
        RecordingError: the file cannot be read, is no pcapng, or holds no Ethernet frames.
    """
    data, words, order, size_bytes = _load(path)
    starts, cut = _walk(words)
    damage: list[str] = []
    if not starts.size:
        damage.append(f"{path.name} is empty ({size_bytes} bytes)")
    elif cut * 4 < size_bytes:
        damage.append(f"{path.name} is cut or damaged from byte {cut * 4} of {size_bytes} on")
    kinds = words[starts] if starts.size else np.empty(0, np.uint32)
    starts, kinds = _one_byte_order(words, starts, kinds, damage, path.name)
    interfaces, base = _interfaces(data, starts, words[starts + 1], kinds, order)
    packets = starts[kinds == _ENHANCED_PACKET]
    foreign = int(np.count_nonzero((kinds == _OLD_PACKET) | (kinds == _SIMPLE_PACKET)))
    if foreign:
        damage.append(
            f"{path.name}: {foreign} packets in blocks without an interface were left out"
        )
    # The head of a block at a time: it lies in one place of memory, a field of all blocks does not.
    heads = _heads(words, packets)
    number = heads[:, 2].astype(np.int64) + base[kinds == _ENHANCED_PACKET]
    captured, size = heads[:, 5].copy(), heads[:, 6].copy()
    room = heads[:, 1].astype(np.int64) - 32
    good = (captured <= room) & (number < len(interfaces))
    if not good.all():
        first = int(np.argmin(good))
        damage.append(f"{path.name} is damaged from byte {int(packets[first]) * 4} on")
        packets, number = packets[:first], number[:first]
        captured, size, heads = captured[:first], size[:first], heads[:first]
    _only_ethernet(interfaces, number, path)
    return RawCapture(
        words=data,
        interfaces=[
            CaptureInterface(i.name, i.snaplen_bytes, i.received, i.dropped) for i in interfaces
        ],
        interface=number.astype(np.uint8),
        stamp_ns=_stamps(heads, number, interfaces),
        captured=captured,
        size=size,
        start=packets + _PACKET_WORDS,
        damage=damage,
    )


def _load(path: Path) -> tuple[Words, Words, str, int]:
    """The file's words, the same as numbers, its byte order and its size in bytes."""
    try:
        size = path.stat().st_size
        count = size // 4
        words: Words = (
            np.memmap(path, dtype="<u4", mode="r", shape=(count,))
            if count >= 3
            else np.empty(0, np.uint32)
        )
    except OSError as error:
        raise RecordingError(
            f"cannot read {path.name}: {error.strerror}", where=str(path)
        ) from error
    words = np.asarray(words)
    if count < 3:
        return words, words, "<", size
    if int(words[0]) != SECTION_HEADER:
        what = _OTHER_FORMATS.get(int(words[0]), f"something that begins with {words[0]:#010x}")
        raise RecordingError(
            f"{path.name} is no pcapng file (it is {what})",
            where=str(path),
            wanted="pcapng",
            got=what,
        )
    magic = int(words[2])
    if magic == _BYTE_ORDER_MAGIC:
        return words, words, "<", size
    if magic == int.from_bytes(_BYTE_ORDER_MAGIC.to_bytes(4, "little"), "big"):
        return words, words.byteswap(), ">", size
    raise RecordingError(
        f"{path.name} is no pcapng file (byte-order magic {magic:#010x})", where=str(path)
    )


def _walk(words: Words) -> tuple[npt.NDArray[np.int64], int]:
    """Where blocks begin, as far as their lengths make sense, and the word after the last of them.

    Nearly all blocks hold packets. So first every word that looks like the head of such a block is
    found, all at once; of these, rows in which each block ends where the next begins are taken
    whole. Only where a row breaks, at another kind of block or at packet data that looks like a
    block, is the next block looked for by itself.
    """
    looks, lengths = _packet_heads(words)
    breaks = np.flatnonzero(looks[:-1] + lengths[:-1] != looks[1:])
    breaks = np.append(breaks, looks.size - 1)
    rows: list[npt.NDArray[np.int64]] = []
    position = 0
    while position + 3 <= words.size:
        first = int(np.searchsorted(looks, position))
        if first < looks.size and looks[first] == position:
            last = int(breaks[np.searchsorted(breaks, first)])
            rows.append(looks[first : last + 1])
            position = int(looks[last] + lengths[last])
            continue
        length = int(words[position + 1])
        end = position + (length >> 2)
        least = _LEAST_BYTES.get(int(words[position]), 12)
        # The length stands at both ends of a block.
        if length < least or length & 3 or end > words.size or int(words[end - 1]) != length:
            break
        rows.append(np.array([position], np.int64))
        position = end
    return (np.concatenate(rows) if rows else np.empty(0, np.int64)), position


def _packet_heads(words: Words) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Words that look like the head of a packet block, and how many words that block has."""
    found = [
        np.flatnonzero(words[first : first + _SCAN_WORDS] == _ENHANCED_PACKET) + first
        for first in range(0, words.size, _SCAN_WORDS)
    ]
    looks = np.concatenate(found) if found else np.empty(0, np.int64)
    looks = looks[looks + 8 <= words.size]
    length = words[looks + 1].astype(np.int64)
    good = (length >= 32) & (length & 3 == 0) & (looks + (length >> 2) <= words.size)
    looks, length = looks[good], length[good]
    whole = words[looks + (length >> 2) - 1] == length
    return looks[whole], length[whole] >> 2


def _heads(words: Words, packets: npt.NDArray[np.int64]) -> Words:
    """The words of each packet block before its data, shape (packets, _PACKET_WORDS)."""
    if not packets.size:
        return np.empty((0, _PACKET_WORDS), np.uint32)
    return np.lib.stride_tricks.sliding_window_view(words, _PACKET_WORDS)[packets]


def _one_byte_order(
    words: Words,
    starts: npt.NDArray[np.int64],
    kinds: Words,
    damage: list[str],
    name: str,
) -> tuple[npt.NDArray[np.int64], Words]:
    """Drops what follows a section header of another byte order."""
    sections = np.flatnonzero(kinds == SECTION_HEADER)
    for section in sections[1:]:
        if int(words[starts[section] + 2]) != _BYTE_ORDER_MAGIC:
            damage.append(f"{name} changes its byte order at byte {int(starts[section]) * 4}")
            return starts[:section], kinds[:section]
    return starts, kinds


def _interfaces(
    data: Words, starts: npt.NDArray[np.int64], lengths: Words, kinds: Words, order: str
) -> tuple[list[_Interface], npt.NDArray[np.int64]]:
    """The interfaces of all sections, and per block how many interfaces earlier sections have."""
    found: list[_Interface] = []
    base = np.zeros(starts.size, np.int64)
    first_of_section = 0
    wanted = (kinds == SECTION_HEADER) | (kinds == _INTERFACE) | (kinds == _STATISTICS)
    for block in np.flatnonzero(wanted):
        start, kind = int(starts[block]), int(kinds[block])
        raw = data[start : start + (int(lengths[block]) >> 2)].tobytes()
        if kind == SECTION_HEADER:
            first_of_section = len(found)
            base[block:] = first_of_section
        elif kind == _INTERFACE:
            found.append(_interface(raw, len(found), order))
        else:
            _statistics(raw, found, first_of_section, order)
    return found, base


def _interface(raw: bytes, number: int, order: str) -> _Interface:
    link_type, _, snaplen = struct.unpack_from(f"{order}HHI", raw, 8)
    interface = _Interface(f"interface {number}", link_type, snaplen)
    for code, value in _options(raw, 16, order):
        if code == 2:
            interface.name = value.decode("utf-8", "replace")
        elif code == 9 and len(value) >= 1:
            interface.resolution = value[0]
        elif code == 14 and len(value) == 8:
            interface.offset_s = struct.unpack(f"{order}q", value)[0]
    return interface


def _statistics(raw: bytes, found: list[_Interface], first_of_section: int, order: str) -> None:
    number = struct.unpack_from(f"{order}I", raw, 8)[0] + first_of_section
    if number >= len(found):
        return
    for code, value in _options(raw, 20, order):
        if code == 4 and len(value) == 8:
            found[number].received = struct.unpack(f"{order}Q", value)[0]
        elif code == 5 and len(value) == 8:
            found[number].dropped = struct.unpack(f"{order}Q", value)[0]


def _options(raw: bytes, position: int, order: str) -> list[tuple[int, bytes]]:
    """Code and value of each option of a block; ends quietly where they stop making sense."""
    options = []
    end = len(raw) - 4
    while position + 4 <= end:
        code, length = struct.unpack_from(f"{order}HH", raw, position)
        if code == 0 or position + 4 + length > end:
            break
        options.append((code, raw[position + 4 : position + 4 + length]))
        position += 4 + (length + 3 & ~3)
    return options


def _only_ethernet(interfaces: list[_Interface], number: npt.NDArray[np.int64], path: Path) -> None:
    for index in np.unique(number):
        if interfaces[index].link_type != _LINKTYPE_ETHERNET:
            raise RecordingError(
                f"{path.name}: interface {interfaces[index].name} has link type "
                f"{interfaces[index].link_type}, not Ethernet ({_LINKTYPE_ETHERNET})",
                where=str(path),
            )


def _stamps(
    heads: Words, number: npt.NDArray[np.int64], interfaces: list[_Interface]
) -> npt.NDArray[np.int64]:
    """Nanoseconds since the epoch, by each interface's resolution (if_tsresol, if_tsoffset)."""
    ticks = (heads[:, 3].astype(np.uint64) << np.uint64(32)) | heads[:, 4]
    stamps = np.empty(number.size, np.int64)
    kinds = {(i.resolution, i.offset_s) for i in interfaces}
    for resolution, offset_s in kinds:
        mine = np.array([(i.resolution, i.offset_s) == (resolution, offset_s) for i in interfaces])
        here = mine[number] if len(kinds) > 1 else slice(None)
        offset_ns = np.int64(max(min(offset_s, _MAX_OFFSET_S), -_MAX_OFFSET_S) * NS_PER_S)
        stamps[here] = _nanoseconds(ticks[here], resolution) + offset_ns
    return stamps


def _nanoseconds(ticks: npt.NDArray[np.uint64], resolution: int) -> npt.NDArray[np.int64]:
    exponent = resolution & 0x7F
    if resolution & 0x80:  # ticks of 2**-exponent seconds
        exponent = min(exponent, 63)
        whole = ticks >> np.uint64(exponent)
        part = (ticks & np.uint64((1 << exponent) - 1)).astype(np.float64) * 2.0**-exponent
        result = whole * np.uint64(NS_PER_S) + (part * NS_PER_S).astype(np.uint64)
    elif exponent <= 9:
        result = ticks * np.uint64(10 ** (9 - exponent))
    else:
        result = ticks // np.uint64(10 ** min(exponent - 9, 19))
    return result.astype(np.int64)
