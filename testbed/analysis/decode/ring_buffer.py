"""Pages of the kernel's ring buffer -> where each event lies and when it was, all pages at once.

A page is a header (time stamp, committed bytes) and records one after the other, each with a 32-bit
word that holds its type or length (5 bits) and the nanoseconds since the record before (27 bits).

Rules:

- All pages are walked in step, one record of each at a time, so that numpy does the work: the
  number of steps is that of the longest page's records, and not that of all records.
- A page that makes no sense is read up to there; `Walked.damaged_pages` counts such pages. Nothing
  here raises for the contents of a page.

Sources: kernel/trace/ring_buffer.c (rb_update_event, check_buffer, ring_buffer_read_page),
include/linux/ring_buffer.h (enum ring_buffer_type), Documentation/trace/ring-buffer-design.rst.
Little-endian 64-bit kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

PAGE_HEADER_BYTES: Final = 16
COMMIT_MASK: Final = 0xFFFFF
"""Bytes of records; the bits 31 and 30 say that events before this page were lost."""
LOST_BEFORE: Final = 1 << 31
"""RB_MISSED_EVENTS"""
_PADDING, _TIME_EXTEND, _TIME_STAMP = 29, 30, 31
_EXTEND_SHIFT: Final = 27
_HIGHEST_BITS: Final = 0xF << 59
"""rb_fix_abs_ts: an absolute time stamp has 59 bits, the rest is that of the time before. The sign
bit stays out of it: it takes 292 years of uptime."""
_PART_PAGES: Final = 4096
"""Pages that are walked together: 16 MiB, so that memory stays bounded."""

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Walked:
    """All events of some pages, by page and in the order of the page."""

    data: npt.NDArray[np.uint8]
    """All pages in a row, and some zeros behind them."""
    offset: Int64
    """Where in `data` the payload of each event begins."""
    length_bytes: Int64
    """How long it is; a field never reaches beyond."""
    t_ns: Int64
    page: Int64
    """Index of the page that each event is in."""
    lost_before: npt.NDArray[np.bool_]
    """Per page whether the kernel says that events before it were lost."""
    damaged_pages: int

    @property
    def count(self) -> int:
        """How many events."""
        return self.offset.size


def walk(pages: Sequence[bytes], page_bytes: int) -> Walked:
    """Finds the events of `pages`, each at most `page_bytes` long, its unused end cut off."""
    size = max(page_bytes, PAGE_HEADER_BYTES + 8) + 7 & ~7
    data = np.zeros(len(pages) * size + size, np.uint8)
    given = np.array([min(len(page), size) for page in pages], np.int64)
    for index, page in enumerate(pages):
        data[index * size : index * size + given[index]] = np.frombuffer(page[:size], np.uint8)
    parts = [
        _Walk(data, np.arange(start, min(start + _PART_PAGES, len(pages))), size, given)
        for start in range(0, len(pages), _PART_PAGES)
    ]
    for part in parts:
        part.go()
    places = _joined([one for part in parts for one in part.page])
    order = np.argsort(places, kind="stable")
    heads = data[: len(pages) * size].reshape(-1, size)[:, 8:12].copy().view("<u4").ravel()
    return Walked(
        data=data,
        offset=_joined([one for part in parts for one in part.offset])[order],
        length_bytes=_joined([one for part in parts for one in part.length])[order],
        t_ns=_joined([one for part in parts for one in part.t_ns])[order],
        page=places[order],
        lost_before=(heads & LOST_BEFORE) != 0,
        damaged_pages=np.unique(_joined([one for part in parts for one in part.damaged])).size,
    )


def _joined(parts: list[Int64]) -> Int64:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


class _Walk:
    """A walk over some pages in step; what it finds is in `offset`, `length`, `t_ns`, `page`.

    `damaged` are pages that make no sense, some of them several times.
    """

    def __init__(self, data: npt.NDArray[np.uint8], pages: Int64, size: int, given: Int64) -> None:
        self._words = data.view("<u4")
        self.offset: list[Int64] = []
        self.length: list[Int64] = []
        self.t_ns: list[Int64] = []
        self.page: list[Int64] = []
        start = pages * size
        whole = given[pages] >= PAGE_HEADER_BYTES
        stamps = data.view("<u8")
        self._page = pages[whole]
        self._at = start[whole] + PAGE_HEADER_BYTES
        self._now = stamps[start[whole] // 8].astype(np.int64)
        committed = (stamps[start[whole] // 8 + 1] & np.uint64(COMMIT_MASK)).astype(np.int64)
        room = np.minimum(given[self._page], size) - PAGE_HEADER_BYTES
        self.damaged: list[Int64] = [pages[~whole], self._page[committed > room]]
        self._end = self._at + np.minimum(committed, room)

    def go(self) -> None:
        """Walks to the ends of all pages."""
        while True:
            going = self._at + 4 <= self._end
            if not going.all():
                self._keep(going)
            if not self._at.size:
                return
            self._step()

    def _keep(self, rows: npt.NDArray[np.bool_]) -> None:
        self._page, self._at, self._now, self._end = (
            values[rows] for values in (self._page, self._at, self._now, self._end)
        )

    def _step(self) -> None:
        """Reads one record of each page that still has one."""
        word = self._words[self._at // 4].astype(np.int64)
        # Behind the last page there is one of zeros: this word is always there.
        second = self._words[self._at // 4 + 1].astype(np.int64)
        kind, delta = word & 31, word >> 5
        extended = (second << _EXTEND_SHIFT) + delta
        large, padding = kind == 0, kind == _PADDING
        extend, stamp = kind == _TIME_EXTEND, kind == _TIME_STAMP
        dated = ~(padding & (delta == 1))  # rb_event_discard: 1 stands for 0 there
        passed = np.where(extend, extended, np.where(dated, delta, 0))
        absolute = extended | (self._now & _HIGHEST_BITS)
        now = np.where(stamp, absolute, self._now + passed)
        header = np.where(large, 8, 4)
        payload = np.where(large, second - 4, kind * 4)
        length = header + np.where(large, second - 4 + 3 & ~3, kind * 4)
        length = np.where(padding, 4 + second, np.where(extend | stamp, 8, length))
        last = padding & (delta == 0)  # rb_null_event: the rest of the page is empty
        after = self._at + length
        wrong = ~last & ((length < 4) | (payload < 0) | (after > self._end))
        event = ~(padding | extend | stamp | wrong)
        self.offset.append((self._at + header)[event])
        self.length.append(payload[event])
        self.t_ns.append(now[event])
        self.page.append(self._page[event])
        self.damaged.append(self._page[wrong])
        self._now = now
        self._at = np.where(last | wrong, self._end, after)
