"""Rule: every event of every page is found where the kernel put it and at its time; a page that
makes no sense costs the rest of that page and is counted, and never raises.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.decode.ring_buffer import LOST_BEFORE, Walked, walk
from tests.builders.trace_pages import (
    PAGE_BYTES,
    discarded,
    event,
    large_event,
    page,
    payloads,
    rest_empty,
    time_extend,
    time_stamp,
)

T = 12_254_258_412_569
DAY = 86_400_000_000_000


def found(walked: Walked) -> list[tuple[int, int, bytes]]:
    """Page, time and payload of each event."""
    texts = payloads(walked.data.tobytes(), walked.offset.tolist(), walked.length_bytes.tolist())
    return list(zip(walked.page.tolist(), walked.t_ns.tolist(), texts, strict=True))


def one(*records: bytes) -> list[tuple[int, bytes]]:
    """Time after T and payload of the events of one page without damage."""
    walked = walk([page(T, *records)], PAGE_BYTES)
    assert walked.damaged_pages == 0
    return [(t_ns - T, text) for _, t_ns, text in found(walked)]


def test_times_add_up() -> None:
    records = (event(0, b"aaaa"), event(5, b"bbbbbbbb"), event((1 << 27) - 1, b"cccc"))
    assert one(*records) == [(0, b"aaaa"), (5, b"bbbbbbbb"), (5 + (1 << 27) - 1, b"cccc")]


def test_an_event_of_more_than_112_bytes() -> None:
    text = bytes(range(200))
    assert one(large_event(3, text), event(4, b"next")) == [(3, text), (7, b"next")]


def test_a_large_event_of_odd_length_is_followed_at_the_next_word() -> None:
    assert one(large_event(0, b"x" * 121), event(1, b"next"))[1] == (1, b"next")


@pytest.mark.parametrize("gap_ns", [1 << 27, DAY, (1 << 59) - 1 - T])
def test_a_time_extend_adds_what_27_bits_cannot_say(gap_ns: int) -> None:
    assert one(event(1, b"aaaa"), time_extend(gap_ns), event(2, b"bbbb")) == [
        (1, b"aaaa"),
        (gap_ns + 3, b"bbbb"),
    ]


def test_a_time_stamp_is_absolute() -> None:
    assert one(event(1, b"aaaa"), time_stamp(T + DAY), event(2, b"bbbb")) == [
        (1, b"aaaa"),
        (DAY + 2, b"bbbb"),
    ]


@pytest.mark.parametrize(
    ("delta_ns", "passed_ns"), [(1, 0), (7, 7)], ids=["1 stands for 0", "its time counts"]
)
def test_a_discarded_event_is_passed_over(delta_ns: int, passed_ns: int) -> None:
    assert one(event(0, b"aaaa"), discarded(delta_ns, 40), event(2, b"bbbb")) == [
        (0, b"aaaa"),
        (passed_ns + 2, b"bbbb"),
    ]


def test_padding_ends_the_page() -> None:
    assert one(event(0, b"aaaa"), rest_empty(100)) == [(0, b"aaaa")]


def test_an_empty_page_and_no_page() -> None:
    assert one() == []
    assert found(walk([], PAGE_BYTES)) == []


def test_events_stand_by_page_however_many_each_has() -> None:
    short = page(T, event(1, b"s000"))
    long = page(T + 9, *(event(1, b"l%03d" % number) for number in range(23)))
    seen = found(walk([long, short, long], PAGE_BYTES))
    assert [place for place, _, _ in seen] == [0] * 23 + [1] + [2] * 23
    assert [text for _, _, text in seen[:23]] == [b"l%03d" % number for number in range(23)]


def test_lost_events_before_a_page_are_told() -> None:
    walked = walk([page(T, event(0, b"aaaa")), page(T, flags=LOST_BEFORE)], PAGE_BYTES)
    assert walked.lost_before.tolist() == [False, True]


@pytest.mark.parametrize(
    "broken",
    [
        page(T, event(0, b"aaaa"), event(1, b"bbbb"))[:-4],
        page(T, event(0, b"aaaa"), committed=4000),
        page(T, event(0, b"aaaa"), large_event(0, b"b" * 200)[:12]),
        page(T, event(0, b"aaaa"), b"\x00\x00\x00\x00\x00\x00\x00\x00"),
        b"short",
    ],
    ids=["cut", "more committed than there is", "cut large event", "no length", "no header"],
)
def test_a_damaged_page_is_counted_and_the_others_stand(broken: bytes) -> None:
    whole = page(T, event(0, b"good"))
    walked = walk([whole, broken, whole], PAGE_BYTES)
    assert walked.damaged_pages == 1
    texts = [(place, text) for place, _, text in found(walked)]
    assert (0, b"good") in texts
    assert (2, b"good") in texts
    assert {text for place, text in texts if place == 1} <= {b"aaaa"}


@given(st.lists(st.binary(max_size=300), max_size=8), st.sampled_from([16, 64, 4096]))
def test_any_bytes_are_read_without_an_error(pages: list[bytes], page_bytes: int) -> None:
    walked = walk(pages, page_bytes)
    assert walked.damaged_pages <= len(pages)
    assert ((walked.offset + walked.length_bytes) <= walked.data.size).all()


@given(st.lists(st.binary(max_size=120), min_size=1, max_size=30), st.data())
def test_a_page_with_any_byte_changed_is_read_without_an_error(
    texts: list[bytes], data: st.DataObject
) -> None:
    whole = bytearray(page(T, *(event(3, text[:112]) for text in texts)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    walk([bytes(whole)], PAGE_BYTES)
