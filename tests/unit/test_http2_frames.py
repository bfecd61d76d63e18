"""Rule: a message's begin and end are where h2, an independent implementation, puts its frames,
however the bytes are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import h2.connection
import h2.events
import pytest
from h2.config import H2Configuration
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, RstStreamFrame
from hypothesis import given
from hypothesis import strategies as st

from testbed.probes.http2_frames import CLIENT_PREFACE_BYTES, FrameWatch, Mark

HEADERS = [(":method", "POST"), (":authority", "a"), (":scheme", "http"), (":path", "/")]


def watched(data: bytes, cuts: Sequence[int], preface_bytes: int = 0) -> list[Mark]:
    watch = FrameWatch(preface_bytes)
    found: list[Mark] = []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        found += watch.feed(data[start:end])
    return found


def requests() -> tuple[bytes, list[Mark]]:
    """A client's side of three requests, interleaved, and where their messages are."""
    client = h2.connection.H2Connection(H2Configuration(client_side=True))
    data, marks = b"", []

    def written() -> int:
        nonlocal data
        data += client.data_to_send()
        return len(data)

    client.initiate_connection()
    for stream, ends in ((1, True), (3, False), (5, False)):
        marks.append(Mark(stream, False, written()))
        client.send_headers(stream, HEADERS, end_stream=ends)
        if ends:
            marks.append(Mark(stream, True, written()))
    client.send_data(3, b"x" * 1000)
    client.increment_flow_control_window(1000)
    client.send_data(5, b"", end_stream=True)
    marks.append(Mark(5, True, written()))
    client.send_data(3, b"y" * 300, end_stream=True)
    marks.append(Mark(3, True, written()))
    client.ping(b"12345678")
    written()
    return data, marks


@given(cuts=st.lists(st.integers(0, 2**16), max_size=40))
def test_messages_are_where_h2_put_them(cuts: list[int]) -> None:
    data, marks = requests()
    assert watched(data, cuts, CLIENT_PREFACE_BYTES) == marks


def frame(made: Frame) -> bytes:
    return made.serialize()


@pytest.mark.parametrize("cuts", [[], list(range(200))], ids=["whole", "byte by byte"])
def test_a_header_block_in_two_frames_ends_with_the_second(cuts: list[int]) -> None:
    data = frame(HeadersFrame(7, b"abc", flags=["END_STREAM"]))
    data += frame(ContinuationFrame(7, b"defg", flags=["END_HEADERS"]))
    assert watched(data, cuts) == [Mark(7, False, 0), Mark(7, True, len(data))]


@pytest.mark.parametrize("cuts", [[], list(range(200))], ids=["whole", "byte by byte"])
def test_a_reset_ends_a_message(cuts: list[int]) -> None:
    data = frame(HeadersFrame(7, b"abc", flags=["END_HEADERS"])) + frame(DataFrame(7, b"x" * 20))
    data += frame(RstStreamFrame(7, 8))
    assert watched(data, cuts) == [Mark(7, False, 0), Mark(7, True, len(data))]
