"""Rows above TCP: a byte or a request too many, or too few, unbalances them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from testbed.analysis import ledger_application as rows
from testbed.analysis.metrics.streams import connection_keys
from tests.builders import frames as f
from tests.builders.captures import columns
from tests.builders.tcp_streams import host, packet

Int64 = npt.NDArray[np.int64]


def array(*values: int) -> Int64:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (array(0, 1, 101), array(1, 101, 201), 201),
        (array(0, 101, 1, 101), array(1, 201, 101, 201), 201),
        (array(0, 1, 201), array(1, 101, 301), 101),
        (array(0, 1, 51), array(1, 101, 151), 151),
        (array(5), array(9), 0),
    ],
    ids=["in order", "sent again", "a gap", "overlapping", "no beginning"],
)
def test_how_far_a_stream_goes_without_a_gap(
    start: Int64,
    end: Int64,
    expected: int,
) -> None:
    assert rows.in_order_until(start, end) == expected


@pytest.mark.parametrize(
    ("places", "ended", "in_order_bytes"),
    [
        pytest.param((10, 110), True, 200, id="whole"),
        pytest.param((10,), False, 100, id="a segment before the FIN is missing"),
    ],
)
def test_a_fin_beyond_a_gap_ends_nothing(
    tmp_path: Path, places: tuple[int, ...], ended: bool, in_order_bytes: int
) -> None:
    frames = [packet(9, 0, flags=f.SYN), *(packet(at, 100) for at in places)]
    packets = columns(tmp_path, [*frames, packet(210, 0, flags=f.FIN | f.ACK)])
    times = list(range(packets.count))
    mine = host(packets, times, times)
    found = rows.Captured(mine, mine.sent).since(int(connection_keys(packets)[0]), 0)
    assert found is not None
    assert (found.ended, found.in_order_bytes) == (ended, in_order_bytes)


def carried(in_order_bytes: int) -> rows.Carried:
    return rows.Carried(began_ns=0, whole=True, ended=True, in_order_bytes=in_order_bytes)


class TestWritten:
    def test_balances(self) -> None:
        total = rows.Sides()
        total.add_written(100, carried(100), cut=False)
        total.add_written(23, carried(23), cut=False)
        row = total.row("what", "note")
        assert (row.entered, row.left, row.dropped, row.balanced) == (123, 123, 0, True)
        assert row.note == ""

    def test_23_bytes_that_nobody_saw_leave(self) -> None:
        total = rows.Sides()
        total.add_written(100, carried(77), cut=False)
        row = total.row("what", "note")
        assert (row.difference, row.balanced) == (23, False)

    def test_23_bytes_that_nobody_wrote(self) -> None:
        total = rows.Sides()
        total.add_written(77, carried(100), cut=True)
        assert total.row("what", "note").difference == -23

    def test_a_reset_drops_23_bytes(self) -> None:
        total = rows.Sides()
        total.add_written(100, carried(77), cut=True)
        row = total.row("what", "note")
        assert (row.dropped, row.balanced, row.note) == (23, True, "note")

    def test_a_connection_that_was_not_captured(self) -> None:
        total = rows.Sides()
        total.add_written(100, None, cut=False)
        assert total.row("what", "note").balanced is None


class TestRead:
    def test_23_unread_bytes_are_held(self) -> None:
        total = rows.Sides()
        total.add_read(100, carried(123))
        row = total.row("what", "note")
        assert (row.held, row.balanced, row.note) == (23, True, "note")

    def test_23_bytes_read_that_never_came(self) -> None:
        total = rows.Sides()
        total.add_read(123, carried(100))
        assert total.row("what", "note").difference == -23


class TestRequests:
    def requests(self, *failures: str | None, ports: bool = True) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "request_id": [f"{number}" for number in range(len(failures))],
                "failure": pl.Series(failures, dtype=pl.String),
                "local_port": pl.Series([4000 if ports else None] * len(failures), dtype=pl.Int64),
            }
        )

    def calls(self, *ids: str | None) -> pl.DataFrame:
        return pl.DataFrame({"request_id": pl.Series(ids, dtype=pl.String)})

    def test_each_request_is_a_call(self) -> None:
        row = rows.requests_row(self.requests(None, "HTTP 500"), self.calls("0", "1", None))
        assert (row.entered, row.left, row.balanced) == (2, 2, True)

    def test_a_failed_one_may_not_have_come(self) -> None:
        row = rows.requests_row(self.requests(None, "ReadTimeout"), self.calls("0"))
        assert (row.left, row.dropped, row.balanced) == (1, 1, True)

    def test_a_completed_one_must_have(self) -> None:
        row = rows.requests_row(self.requests(None, None), self.calls("0"))
        assert (row.difference, row.balanced) == (1, False)

    def test_a_call_that_nobody_asked_for(self) -> None:
        row = rows.requests_row(self.requests(None), self.calls("0", "7"))
        assert (row.difference, row.balanced) == (0, False)

    def test_one_that_was_never_written_is_none(self) -> None:
        row = rows.requests_row(self.requests("PoolTimeout", ports=False), self.calls())
        assert (row.entered, row.balanced) == (0, True)
