"""Rule: the way of segments to their socket is drawn as it was measured, and not at all where it
was not observed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from testbed.analysis.analyse import analyse
from testbed.analysis.decode.schema import schema_of
from testbed.analysis.series import MAX_POINTS, ReceiveSeries, Series, build
from testbed.events.tracepoints import ReceivePath
from testbed.recording.layout import Layout
from testbed.report import figures
from testbed.report.html import write_report
from tests.builders.frames import SYN, tcp
from tests.builders.recordings import Run

EMPTY = Series(origin_ns=0, duration_ns=0)


def drawn(*receives: ReceiveSeries) -> figures.Chart:
    made = figures.receive_path(replace(EMPTY, receives=list(receives)))
    assert made is not None
    return made


def test_without_tracepoints_there_is_no_chart() -> None:
    assert figures.receive_path(EMPTY) is None
    assert figures.receive_path(replace(EMPTY, receives=[ReceiveSeries("netif_rx", 0, [])])) is None


def test_each_first_step_has_its_line_from_0_to_100_percent() -> None:
    made = drawn(
        ReceiveSeries("netif_receive_skb", 4, [2000, 4000, 8000, 60_000]),
        ReceiveSeries("netif_rx", 1, [7000]),
    )
    lines = [one for one in made.data if "name" in one]
    assert [one["name"] for one in lines] == ["from netif_receive_skb", "from netif_rx"]
    assert lines[0]["y"] == [0, 25, 50, 75, 100]
    assert lines[0]["x"] == sorted(lines[0]["x"])
    assert lines[1]["y"] == [0, 100]


def test_10_and_100_microseconds_are_always_in_sight() -> None:
    made = drawn(ReceiveSeries("netif_rx", 2, [1000, 3000]))
    said = [one["x"][0] for one in made.data if "name" not in one]
    assert [round(x / said[0]) for x in said] == [1, 10]


def receive_table(durations_ns: list[int | None]) -> pl.DataFrame:
    rows = [
        {
            "node": "server", "interface": "server-eth0", "local_port": 8000, "remote_port": 40000,
            "payload_bytes": 100, "start": "netif_rx", "start_ns": 0, "received_ns": 1, "tcp_ns": 2,
            "interrupt_to_socket_ns": duration_ns,
        }
        for duration_ns in durations_ns
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=schema_of(ReceivePath))


def with_receive_path(root: Path, durations_ns: list[int | None]) -> Path:
    run = Run()
    run.send("server", 0, tcp(40000, 8000, 99, flags=SYN))
    written = run.write(root).root
    analyse(written)
    receive_table(durations_ns).write_parquet(Layout(written).events("receive_path"))
    return written


def test_the_series_is_by_size_and_leaves_out_what_is_not_known(tmp_path: Path) -> None:
    root = with_receive_path(tmp_path / "run", [9000, None, 3000, 5000])
    assert build(root).receives == [ReceiveSeries("netif_rx", 3, [3000, 5000, 9000])]


def test_a_long_run_is_thinned_and_keeps_its_ends(tmp_path: Path) -> None:
    root = with_receive_path(tmp_path / "run", list(range(1, 100_001)))
    (one,) = build(root).receives
    assert (one.segments, len(one.duration_ns)) == (100_000, MAX_POINTS)
    assert (one.duration_ns[0], one.duration_ns[-1]) == (1, 100_000)


def test_the_page_has_the_chart_where_it_was_observed(tmp_path: Path) -> None:
    root = with_receive_path(tmp_path / "run", [9000, 3000])
    assert 'id="chart-receive"' in write_report(root).read_text(encoding="utf-8")
    Layout(root).events("receive_path").unlink()
    assert 'id="chart-receive"' not in write_report(root).read_text(encoding="utf-8")
