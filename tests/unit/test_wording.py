"""The layer table: units come from the names, http is at the top, and missing is never zero."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.analysis.summary import Layer
from testbed.events import LAYERS
from testbed.report import wording
from tests.builders.layer_figures import LAYERS as BUILT


def cell(**figures: Any) -> wording.Cell:
    row = wording.rows({"link": Layer(status="observed", loss=figures)})[-1]
    return row.cells["loss"]


def said(**figures: Any) -> list[str]:
    return [str(figure) for figure in cell(**figures).telling]


def test_every_layer_has_a_row_with_http_at_the_top() -> None:
    rows = wording.rows({})
    assert [row.layer for row in rows] == list(reversed(LAYERS))
    assert all(not row.observed and row.reason for row in rows)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("retransmitted_segments", 341, "341 retransmitted segments"),
        ("timeouts", 1, "1 timeout"),
        ("lost_packets", 12_345, "12\u202f345 lost packets"),
        ("send_wait_ns", 4_310_000_000, "send wait 4.31 s"),
        ("peak_unread_bytes", 64_240, "peak unread 64.2 kB"),
        ("busy_ratio", 0.5, "busy 50 %"),
        ("goodput_bit_s", 9.5e6, "goodput 9.5 Mbit/s"),
        ("arrivals_per_s", 12.0, "arrivals 12/s"),
        ("peak_queue_packets", 50, "peak queue 50 packets"),
        ("peak_rtt_ns", 50_000_000, "peak RTT 50 ms"),
        ("duplicate_acks", 4, "4 duplicate ACKs"),
        ("lag_ns_p99", 615_000, "lag p99 615 µs"),
        ("busy_ratio_max", 0.0727, "busy max 7.27 %"),
        ("again_calls", 416, "416 again calls"),
        ("client_calls_per_request", 5.79, "5.79 client calls per request"),
        ("per_send_bytes_p50", 138, "bytes per send p50 138 B"),
        ("time_waiting_writable_ns", 4_000_000, "time waiting writable 4 ms"),
    ],
)
def test_a_figure_in_words(name: str, value: float, text: str) -> None:
    assert said(**{name: value}) == [text]


def test_quantiles_of_one_thing_are_one_figure() -> None:
    [figure] = cell(lag_ns_p50=19_000, lag_ns_p99=615_000, lag_ns_max=3_320_000).telling
    assert str(figure) == "lag p99 615 µs"
    assert figure.full.replace("\u00a0", " ") == "lag p50 19 µs, p99 615 µs, max 3.32 ms"


def test_quantiles_beside_the_sum_of_the_same() -> None:
    assert said(wait_ns=5_000_000, wait_ns_p50=1_000, wait_ns_p99=2_000) == [
        "wait 5 ms",
        "single wait p99 2 µs",
    ]


def test_a_ratio_stands_with_its_count() -> None:
    assert said(lost_packets=421, lost_ratio=0.0198) == ["421 lost packets (1.98 %)"]
    assert said(lost_packets=0, lost_ratio=0.0) == []
    assert said(lost_packets=421, late_ratio=0.5) == ["421 lost packets", "late 50 %"]


def test_a_process_stands_with_its_figure() -> None:
    assert said(longest_step_ns=9_000_000, longest_step_process="server") == [
        "longest step 9 ms (server)"
    ]


def test_a_limit_stands_with_what_it_bounds() -> None:
    used = {"descriptors_in_use_most": 17, "descriptors_in_use_most_process": "server"}
    assert said(**used, descriptor_limit=1024) == [
        "17 descriptors in use (server)",
        "1024 descriptor limit",
    ]
    assert said(
        descriptors_in_use_most=17, descriptor_limit=1024, descriptors_in_use_most_process="server"
    ) == ["17 of 1024 descriptors in use (server)"]
    assert said(**used, descriptor_limit=None) == ["17 descriptors in use (server)"]


def test_kinds_are_figures_of_their_own() -> None:
    assert said(failures={"ReadTimeout": 2, "HTTP 503": 1}) == ["2 ReadTimeout", "1 HTTP 503"]
    assert said(failures={}) == []


def test_totals_are_no_news() -> None:
    assert cell(sent_packets=100, lost_packets=0).lines(3) == ["none"]


def test_all_zero_is_none_and_says_of_what() -> None:
    seen = cell(lost_packets=0, timeouts=0)
    assert seen.status == "observed"
    assert seen.lines(3) == ["none"]
    assert seen.zeros == ("lost packets", "timeouts")


def test_what_was_not_seen_is_never_zero() -> None:
    unseen = cell(lost_packets=None, wait_ns_p99=None)
    assert unseen.status == "not observed"
    assert unseen.lines(3) == ["not observed"]
    assert unseen.zeros == ()
    assert unseen.unseen == ("lost packets", "wait")


def test_a_part_that_was_not_seen_is_said() -> None:
    partly = cell(lost_packets=3, late_packets=None)
    assert partly.lines(3) == ["3 lost packets"]
    assert partly.unseen == ("late packets",)


def test_what_a_layer_does_not_have_is_a_dash() -> None:
    [row] = [row for row in wording.rows(BUILT) if row.layer == "socket"]
    assert row.cells["reordering"].status == "not applicable"
    assert row.cells["reordering"].lines(3) == ["–"]  # noqa: RUF001 - the dash of the report


def test_at_most_so_many_lines() -> None:
    assert len(cell(a=1, b=2, c=3, d=4).lines(2)) == 2


def test_a_value_never_breaks_in_a_narrow_column() -> None:
    [line] = cell(send_wait_ns=4_310_000_000).lines(1)
    assert line == "send wait 4.31\u00a0s"
