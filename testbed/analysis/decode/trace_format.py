"""The ``format`` files of tracepoints -> where the fields of an event lie, and what numbers mean.

Source: Documentation/trace/events.rst, "Event formats".
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.decode.ring_buffer import Walked

_ID: Final = re.compile(r"^ID: (\d+)$", re.MULTILINE)
_FIELD: Final = re.compile(
    r"^\tfield:(?P<declaration>[^;]+);\toffset:(?P<offset>\d+);\tsize:(?P<size>\d+);"
    r"(?:\tsigned:(?P<signed>[01]);)?",
    re.MULTILINE,
)
_SYMBOL: Final = re.compile(r'\{\s*(\d+)\s*,\s*"([^"]*)"\s*\}')
_LOCATED: Final = "__data_loc"
_NAME_BYTES: Final = 16
"""IFNAMSIZ"""
_AF_INET6: Final = 10
_SOCKADDR_IN6_BYTES: Final = 28
"""include/linux/socket.h; include/uapi/linux/in6.h: the address lies at 8."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an event."""

    offset: int
    size: int
    signed: bool
    located: bool
    """Its four bytes say where the text is: length << 16 | offset."""


@dataclass(frozen=True, slots=True)
class Format:
    """The layout of one kind of event."""

    number: int
    """What the first two bytes of its records are."""
    fields: dict[str, Field]
    print_format: str

    def symbols(self, field: str) -> dict[int, str]:
        """What the numbers of a field mean, as ``print fmt`` has it for __print_symbolic."""
        _, _, rest = self.print_format.partition(f"__print_symbolic(REC->{field},")
        # The table ends where the call does; names in it have no parentheses.
        return {int(number): text for number, text in _SYMBOL.findall(rest.partition(")")[0])}


def parse_format(text: str) -> Format | None:
    """Reads a ``format`` file; None where it is none."""
    number = _ID.search(text)
    if number is None:
        return None
    fields = {}
    for match in _FIELD.finditer(text):
        declaration = match["declaration"]
        name = declaration.split()[-1].partition("[")[0].lstrip("*")
        fields[name] = Field(
            int(match["offset"]),
            int(match["size"]),
            match["signed"] == "1",
            declaration.startswith(_LOCATED),
        )
    return Format(int(number[1]), fields, text.partition("print fmt:")[2])


class Rows:
    """Some events of one kind, for reading their fields column by column."""

    def __init__(self, walked: Walked, form: Format, rows: npt.NDArray[np.intp]) -> None:
        self._walked = walked
        self.form = form
        self.rows = rows

    @property
    def count(self) -> int:
        """How many events."""
        return self.rows.size

    def number(self, name: str) -> npt.NDArray[np.int64] | None:
        """A field as whole numbers; None where the event has no such field, or one of odd size.

        Kernel addresses, which have the highest bit set, come as negative numbers.
        """
        field = self.form.fields.get(name)
        if field is None or field.located or field.size not in (1, 2, 4, 8):
            return None
        kind = f"<{'i' if field.signed else 'u'}{field.size}"
        return self._bytes(field.offset, field.size).view(kind).ravel().astype(np.int64)

    def text(self, name: str) -> list[str] | None:
        """A text of at most 15 letters; None where the event has no such field."""
        field = self.form.fields.get(name)
        if field is None or not field.located:
            return None
        where = self._bytes(field.offset, 4).view("<u4").ravel().astype(np.int64) & 0xFFFF
        found = self._bytes(where, _NAME_BYTES)
        # What follows the first zero belongs to others.
        found = np.where(np.cumsum(found == 0, axis=1) > 0, 0, found).astype(np.uint8)
        names, codes = np.unique(found.view(f"S{_NAME_BYTES}").ravel(), return_inverse=True)
        known = [name.decode("ascii", "replace") for name in names.tolist()]
        return [known[code] for code in codes.tolist()]

    def address(self, name: str) -> list[str] | None:
        """The address of a field.

        It is in a ``struct sockaddr_in`` or ``sockaddr_in6``, or IPv4 in four bytes, with IPv6 in
        a field beside it.
        """
        field = self.form.fields.get(name)
        if field is None or field.size < 4:
            return None
        as_struct = field.size > 4
        beside = self.form.fields.get(f"{name}_v6")
        families = self._bytes(field.offset, 2) if as_struct else None
        family = families.view("<u2").ravel() if families is not None else self.number("family")
        four = self._bytes(field.offset + (4 if as_struct else 0), 4)
        if as_struct and field.size >= _SOCKADDR_IN6_BYTES:
            sixteen = self._bytes(field.offset + 8, 16)
        elif beside is not None:
            sixteen = self._bytes(beside.offset, 16)
        else:
            sixteen = np.zeros((four.shape[0], 16), np.uint8)
        is_6 = np.zeros(four.shape[0], bool) if family is None else family == _AF_INET6
        padded = np.concatenate([four, np.zeros((four.shape[0], 12), np.uint8)], axis=1)
        octets = np.where(is_6[:, None], sixteen, padded).astype(np.uint8)
        keys = np.concatenate([is_6[:, None].astype(np.uint8), octets], axis=1)
        distinct, codes = np.unique(np.ascontiguousarray(keys).view("V17"), return_inverse=True)
        known = [_address_text(key.tobytes()) for key in distinct.ravel()]
        return [known[code] for code in codes.ravel().tolist()]

    def _bytes(self, offset: int | npt.NDArray[np.int64], size: int) -> npt.NDArray[np.uint8]:
        """Bytes of each event, shape (events, size); what lies beyond an event is zero."""
        first = np.broadcast_to(np.asarray(offset, np.int64), self.rows.shape)
        places = first[:, None] + np.arange(size)
        inside = places < self._walked.length_bytes[self.rows][:, None]
        at = self._walked.offset[self.rows][:, None] + np.where(inside, places, 0)
        return np.where(inside, self._walked.data[at], 0).astype(np.uint8)


def _address_text(key: bytes) -> str:
    """The address of a byte that is 1 for IPv6, and 16 bytes of which IPv4 has the first four."""
    return str(ipaddress.ip_address(key[1:17] if key[0] else key[1:5]))
