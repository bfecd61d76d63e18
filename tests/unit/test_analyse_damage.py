from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from testbed.analysis import series
from testbed.analysis.analyse import analyse, load_summary
from testbed.analysis.summary import Summary
from testbed.errors import RecordingError
from testbed.events import LAYERS
from testbed.recording.layout import PARTIAL, Layout
from testbed.recording.manifest import NO_LOAD, ProbeRecord
from testbed.report import html
from testbed.report.html import write_report
from testbed.report.text import print_report
from tests.builders.recordings import MS, US, Run
from tests.builders.transfers import reasons, transfer


def _only_manifest(layout: Layout) -> None:
    for name in ("segments", "packets"):
        shutil.rmtree(layout.root / name)
        (layout.root / name).mkdir()


def test_a_recording_with_nothing_in_it_is_analysed_and_nothing_is_zero(tmp_path: Path) -> None:
    layout = Run().write(tmp_path / "run", state="failed", failure="the server died\nTraceback")
    _only_manifest(layout)
    summary = analyse(layout.root)
    assert summary.verdict.status == "invalid"
    (complete,) = reasons(summary, "run complete")
    assert complete.message == "the run failed: the server died"
    assert {layer.status for layer in summary.layers.values()} == {"not observed"}
    assert all(layer.reason for layer in summary.layers.values())
    assert summary.http.requests is None
    assert summary.http.failed is None
    for link in summary.links.values():
        for way in link.values():
            assert way.sent_packets is None
            assert way.lost_packets is None
            assert way.queue_dropped_packets is None
    assert all(row.balanced is None for row in summary.ledger.rows)
    found = series.build(layout.root)
    assert found.latency == []
    assert set(found.missing) >= {"latency", "throughput", "queues", "connections"}


def test_a_run_that_failed_before_it_had_a_network_is_analysed(tmp_path: Path) -> None:
    layout = Run().write(
        tmp_path / "run",
        state="failed",
        failure="no such topology",
        nodes=[],
        links=[],
        probes=[],
        processes=[],
        clock_start=None,
        clock_end=None,
        load_started_ns=None,
        load_ended_ns=None,
        stolen_cpu_ratio=None,
    )
    _only_manifest(layout)
    summary = analyse(layout.root)
    assert summary.links == {}
    assert summary.verdict.status == "invalid"
    assert series.build(layout.root).duration_ns == 0


def test_nothing_of_a_run_that_ended_before_the_load_is_a_figure(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 10)
    layout = run.write(
        tmp_path / "run",
        state="failed",
        failure="server ended before it was ready",
        load_started_ns=None,
        load_ended_ns=None,
    )
    summary = analyse(layout.root)
    for layer in summary.layers.values():
        assert (layer.status, layer.reason) == ("not observed", NO_LOAD)
        assert layer.loss is layer.reordering is layer.backpressure is None
    assert summary.http.requests is None
    assert {way.sent_packets for link in summary.links.values() for way in link.values()} == {None}
    assert {row.balanced for row in summary.ledger.rows} == {None}
    assert summary.backpressure is not None
    assert summary.backpressure.sentence == f"not observed: {NO_LOAD}"
    assert [one.status for one in summary.verdict.reasons] == ["invalid", "degraded"]
    assert reasons(summary, "load generator")[0].message == f"not checked: {NO_LOAD}"
    assert set(series.build(layout.root).missing.values()) == {NO_LOAD}
    # What was recorded meanwhile is kept, for who looks for the reason.
    assert layout.events("tcp").exists()


def test_the_reports_of_such_a_run_never_say_none(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 10)
    root = run.write(tmp_path / "run", state="failed", failure="no", load_started_ns=None).root
    summary = analyse(root)
    with Console(width=100, record=True, file=io.StringIO()) as console:
        print_report(console, summary)
    text = console.export_text()
    assert text.count(f"not observed: {NO_LOAD}") == len(LAYERS) + 2  # HTTP, backpressure
    assert "balanced" not in text
    assert "none" not in text.split("Why this verdict")[0].replace("none of its", "")
    page = write_report(root).read_text()
    assert page.count(f"not observed: {NO_LOAD}") >= len(LAYERS) + 2
    assert "Balanced" not in page


def test_a_complete_run_without_the_time_of_its_load_is_judged(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 10)
    layout = run.write(tmp_path / "run", load_started_ns=None)
    assert analyse(layout.root).layers["link"].status == "observed"


@pytest.mark.parametrize(
    ("gone", "layer"),
    [
        ("http.client.seg", "http"),
        ("asgi.server.seg", "asgi"),
        ("event_loop.server.seg", "event_loop"),
        ("sampler.seg", "socket"),
    ],
)
def test_a_missing_segment_takes_its_layer_and_no_other(
    tmp_path: Path, gone: str, layer: str
) -> None:
    run = Run()
    transfer(run, 10)
    layout = run.write(tmp_path / "run")
    (layout.root / "segments" / gone).unlink()
    summary = analyse(layout.root)
    assert summary.layers[layer].status == "not observed"
    assert gone.partition(".")[0] in summary.layers[layer].reason
    assert summary.layers["link"].status == "observed"
    assert not layout.events(layer).exists()


def test_a_missing_relay_log_leaves_what_the_captures_show(tmp_path: Path) -> None:
    run = Run(loss_ratio=0.05)
    transfer(run, 400, frozenset(range(1, 400, 18)))
    layout = run.write(tmp_path / "run")
    layout.segment("link.r1-server").unlink()
    summary = analyse(layout.root)
    assert summary.links["r1-server"]["reverse"].lost_packets == 23
    assert "not checked: no log of r1 → server" in [
        reason.message for reason in reasons(summary, "relay lateness")
    ]
    assert summary.verdict.status == "degraded"


def test_without_captures_the_relays_log_gives_the_links_numbers(tmp_path: Path) -> None:
    run = Run(loss_ratio=0.05)
    transfer(run, 400, frozenset(range(1, 400, 18)))
    probes = [ProbeRecord(layer="link", observed=True, sources=["relay log"])]
    layout = run.write(tmp_path / "run", probes=probes)
    shutil.rmtree(layout.root / "packets")
    summary = analyse(layout.root)
    link = summary.links["r1-server"]["reverse"]
    assert (link.sent_packets, link.delivered_packets, link.lost_packets) == (424, 401, 23)
    assert link.one_way_delay_ns is not None
    assert link.one_way_delay_ns.p50 == 1 * MS + 20 * US
    assert summary.layers["tcp"].reason == "the run ended before its probes were set up"
    (captures,) = reasons(summary, "captures")
    assert captures.status == "degraded"


def test_an_interrupted_run_is_degraded_at_best(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 10)
    summary = analyse(run.write(tmp_path / "run", state="interrupted").root)
    assert summary.verdict.status == "degraded"


def test_what_is_no_recording_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="is no recording"):
        analyse(tmp_path)
    with pytest.raises(RecordingError, match="is no recording"):
        load_summary(tmp_path)
    layout = Run().write(tmp_path / "run")
    with pytest.raises(RecordingError, match="was not analysed yet"):
        load_summary(layout.root)
    layout.summary.write_text('{"format": 99}')
    with pytest.raises(RecordingError, match="format 99"):
        load_summary(layout.root)
    layout.summary.write_text('{"format": 1}')
    with pytest.raises(RecordingError, match="is damaged"):
        load_summary(layout.root)
    layout.manifest.write_text("[]")
    with pytest.raises(RecordingError):
        analyse(layout.root)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    run = Run(loss_ratio=0.1)
    transfer(run, 20, frozenset({3, 4}))
    return run.write(tmp_path_factory.mktemp("whole") / "run")


PARTS = [
    "segments/http.client.seg",
    "segments/asgi.server.seg",
    "segments/event_loop.server.seg",
    "segments/sampler.seg",
    "segments/link.r1-server.seg",
    "packets/r1.pcapng",
]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    part=st.sampled_from(PARTS),
    share=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5),
)
def test_any_damage_to_any_part_gives_an_analysis(
    whole: Layout,
    tmp_path_factory: pytest.TempPathFactory,
    part: str,
    share: float,
    changes: list[tuple[float, int]],
) -> None:
    root = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(whole.root, root)
    path = root / part
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    path.write_bytes(bytes(content[: int(share * len(content))]))
    summary = analyse(root)
    assert load_summary(root) == msgspec.json.decode(msgspec.json.encode(summary), type=Summary)
    series.build(root)


def test_a_number_in_the_manifest_that_no_column_holds_is_damage(tmp_path: Path) -> None:
    layout = Run().write(tmp_path / "run")
    text = layout.manifest.read_text()
    layout.manifest.write_text(text.replace('"offset_ns": ', '"offset_ns": 99999', 1))
    assert layout.manifest.read_text() != text
    with pytest.raises(RecordingError, match=r"manifest\.json is damaged: it has a number beyond"):
        analyse(layout.root)


def test_results_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    layout = Run().write(tmp_path / "run")
    layout.events("http").parent.rmdir()
    layout.events("http").parent.write_text("a file where a folder should be")
    with pytest.raises(RecordingError, match="cannot write the analysis"):
        analyse(layout.root)


def test_a_table_that_cannot_be_written_is_said_and_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Run().write(tmp_path / "run")
    analyse(layout.root)
    written: list[str] = []
    write = pl.DataFrame.write_parquet

    def full_disk(table: pl.DataFrame, path: Path, **settings: Any) -> None:
        written.append(path.name)
        if len(written) == 2:
            raise pl.exceptions.ComputeError("No space left on device (os error 28)")
        write(table, path, **settings)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full_disk)
    with pytest.raises(RecordingError, match=r"cannot write .*parquet: No space left on device"):
        analyse(layout.root)
    assert len(written) == 2
    assert list(layout.root.rglob(f"*{PARTIAL}")) == []
    with pytest.raises(RecordingError, match="was not analysed yet"):
        load_summary(layout.root)


def test_a_page_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Run().write(tmp_path / "run")
    analyse(layout.root)

    def full_disk(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(html, "write_atomically", full_disk)
    with pytest.raises(RecordingError, match=r"cannot write .*report.html: No space left"):
        write_report(layout.root)
