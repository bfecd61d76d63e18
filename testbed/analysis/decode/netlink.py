"""Raw netlink replies as columns.

Rules (include/uapi/linux/netlink.h; all numbers are in the byte order of the machine, little-endian
here):

- A reply is a row of messages, each a `struct nlmsghdr` (length, type, flags, sequence number,
  port: 16 bytes) with its body, aligned to 4 bytes, up to NLMSG_DONE.
- A body is a fixed struct and attributes, each a `struct nlattr` (length, type) with its payload,
  aligned to 4.
- The kernel writes one kind of message with the same attributes in the same order again and again.
  So messages are sorted into groups of equal layout, the attributes of a group are found once, and
  each field is a column of the group's matrix.
- What does not add up ends the reply it is in; what came before it counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

HEADER_BYTES: Final = 16
_MAX_MESSAGE_BYTES: Final = 1 << 16
_LAST: Final = (2, 3)
"""NLMSG_ERROR, NLMSG_DONE"""
_NESTED: Final = 0x8000
_HEAD_BYTES: Final = 8
"""Of a header up to its sequence number: length (4), type (2), flags (2)."""

Matrix = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Attributes = dict[tuple[int, ...], tuple[int, int]]
"""Path of an attribute, such as (7, 1) for one nested in 7 -> offset and length of its payload."""


@dataclass(frozen=True, slots=True)
class Group:
    """Messages of one layout."""

    messages: Matrix
    """Shape (messages, length), the nlmsghdr included."""
    reply: npt.NDArray[np.int64]
    """The reply that each message was in."""
    place: npt.NDArray[np.int64]
    """Where each message stands among all of its type, over all replies."""
    attributes: Attributes

    def number(self, offset: int, size: int, *, big_endian: bool = False) -> npt.NDArray[np.int64]:
        """An unsigned field of `size` bytes, shape (messages,)."""
        part = np.ascontiguousarray(self.messages[:, offset : offset + size])
        kind = f"{'>' if big_endian else '<'}u{size}"
        return part.view(kind)[:, 0].astype(np.int64)

    def attribute(
        self, path: tuple[int, ...], offset: int, size: int
    ) -> npt.NDArray[np.int64] | None:
        """An unsigned field of an attribute; None where that is absent or too short for it."""
        start, length = self.attributes.get(path, (0, 0))
        return None if offset + size > length else self.number(start + offset, size)


def groups(
    replies: Sequence[bytes], kind: int, struct_bytes: int, nested: frozenset[int] = frozenset()
) -> Iterator[Group]:
    """The messages of type `kind`, by layout.

    Args:
        replies: each the whole answer to one dump.
        kind: nlmsg_type.
        struct_bytes: of the fixed struct between the header and the attributes.
        nested: types of attributes that hold attributes, even where the kernel does not mark them
            so.
    """
    data = np.frombuffer(b"".join(replies), np.uint8)
    start, length, reply = _messages(data, replies, kind, HEADER_BYTES + struct_bytes)
    for size in np.unique(length):
        mine = np.flatnonzero(length == size)
        matrix = np.lib.stride_tricks.sliding_window_view(data, int(size))[start[mine]]
        yield from _by_layout(matrix, reply[mine], mine, HEADER_BYTES + struct_bytes, nested)


def _messages(
    data: npt.NDArray[np.uint8], replies: Sequence[bytes], kind: int, least: int
) -> tuple[Int64, Int64, Int64]:
    """Where each message of that type begins, its length and its reply, in their order.

    The first message of every reply is looked at, then the second of every reply, and so on.
    """
    sizes = np.array([len(content) for content in replies], np.int64)
    ends = np.cumsum(sizes)
    position, reply = ends - sizes, np.arange(sizes.size)
    found: list[tuple[Int64, Int64, Int64]] = []
    while position.size:
        inside = position + HEADER_BYTES <= ends[reply]
        position, reply = position[inside], reply[inside]
        heads = data[position[:, None] + np.arange(_HEAD_BYTES)].view("<u4").astype(np.int64)
        length, type_ = heads[:, 0], heads[:, 1] & 0xFFFF
        good = (length >= HEADER_BYTES) & (position + length <= ends[reply])
        good &= ~np.isin(type_, _LAST)
        mine = good & (type_ == kind) & (length >= least) & (length <= _MAX_MESSAGE_BYTES)
        found.append((position[mine], length[mine], reply[mine]))
        position, reply = (position + ((length + 3) & ~3))[good], reply[good]
    if not found:
        return (np.empty(0, np.int64),) * 3
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = np.argsort(columns[0])
    start, size, owner = (column[order] for column in columns)
    return start, size, owner


def _by_layout(
    matrix: Matrix,
    reply: npt.NDArray[np.int64],
    place: npt.NDArray[np.int64],
    start: int,
    nested: frozenset[int],
) -> Iterator[Group]:
    remaining = np.arange(len(matrix))
    while remaining.size:
        first = matrix[remaining[0]]
        attributes = _attributes(first.tobytes(), start, len(first), (), nested)
        heads = np.array(
            [o - 4 + step for o, _ in attributes.values() for step in range(4)], np.intp
        )
        same = (matrix[np.ix_(remaining, heads)] == first[heads]).all(axis=1)
        same[0] = True
        rows = remaining[same]
        yield Group(matrix[rows], reply[rows], place[rows], attributes)
        remaining = remaining[~same]


def _attributes(
    data: bytes, position: int, end: int, path: tuple[int, ...], nested: frozenset[int]
) -> Attributes:
    found: Attributes = {}
    while position + 4 <= end:
        length, kind = struct.unpack_from("<HH", data, position)
        if length < 4 or position + length > end:
            break
        type_ = kind & ~_NESTED & ~0x4000
        here = (*path, type_)
        found.setdefault(here, (position + 4, length - 4))
        if kind & _NESTED or (not path and type_ in nested):
            found |= _attributes(data, position + 4, position + length, here, nested)
        position += (length + 3) & ~3
    return found
