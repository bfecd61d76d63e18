"""Settings and changes of links in words, and the table of what crossed them."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from testbed.analysis.series import ChangeMark
from testbed.analysis.summary import Impairment
from testbed.recording.manifest import AppliedChange, Manifest
from testbed.report import figures, html, link_table, settings
from testbed.report import format as scale
from testbed.scenario import notation
from testbed.scenario.impairments import Bernoulli, Every, Trace
from tests.builders.drawn_series import series
from tests.builders.summaries import S, direction, manifest, summary


def built(**changes: Any) -> Manifest:
    """A manifest whose bottleneck has these settings from r1 to the server."""
    made = manifest()
    link = made.links[1]
    forward = msgspec.structs.replace(link.forward, **changes)
    return manifest(links=[made.links[0], msgspec.structs.replace(link, forward=forward)])


def change(made: Manifest, way: str, text: str, at_ns: int) -> AppliedChange:
    return AppliedChange(
        at_ns=at_ns,
        done_ns=at_ns,
        link="r1-server",
        direction=way,  # type: ignore[arg-type]
        text=text,
        source="schedule",
        settings=made.links[1].forward,
    )


def test_what_is_set_alike_both_ways_is_said_once() -> None:
    assert settings.described(manifest()) == [
        ("r1 ↔ server", "10 Mbit/s · queue 50 p · 20 ms · 2 % loss")
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"loss": notation.parse_loss("gilbert-elliott p 1% r 25%")},
            "10 Mbit/s · queue 50 p · 20 ms · loss gilbert-elliott p 1% r 25%",
        ),
        (
            {"delay_variation": notation.parse_variation("2ms normal overtaking")},
            "10 Mbit/s · queue 50 p · 20 ms ± 2 ms normal overtaking · 2 % loss",
        ),
        (
            {"queue": notation.parse_queue("codel 100p target 5ms ecn"), "queue_packets": None},
            "10 Mbit/s · queue codel 100p target 5ms ecn · 20 ms · 2 % loss",
        ),
        (
            {"trace": Trace(name="lte", opportunities=10, period_ms=10, sha256="")},
            "trace lte, mean 12 Mbit/s · queue 50 p · 20 ms · 2 % loss",
        ),
        (
            {
                "duplicate": Every(n=9),
                "corrupt": Bernoulli(ratio=0.01),
                "reorder": notation.parse_reorder("2%"),
                "outages": notation.parse_outages("at 1s for 2s"),
            },
            "10 Mbit/s · queue 50 p · 20 ms · 2 % loss · duplicate every 9 · corrupt 1% · "
            "reorder 2% extent 3 · outage at 1s for 2s",
        ),
    ],
)
def test_each_setting_has_words(changes: dict[str, Any], expected: str) -> None:
    assert settings.described(built(**changes))[0] == ("r1 → server", expected)


def test_changes_have_numbers_times_and_places() -> None:
    made = manifest()
    made = manifest(
        changes=[
            change(made, "forward", "loss 2%", 5 * S),
            change(made, "reverse", "loss 2%", 5 * S),
            change(made, "reverse", "delay 5ms", 6 * S),
        ]
    )
    assert [(c.number, c.when, c.where, c.text) for c in settings.changes(made)] == [
        (1, "0 s", "r1 ↔ server", "loss 2%"),
        (2, "1 s", "server → r1", "delay 5ms"),
    ]


def test_charts_over_time_are_marked_where_links_changed() -> None:
    drawn = series()
    marks = [
        ChangeMark(t_ns=S, link="r1-server", direction="forward", text="loss 2%"),
        ChangeMark(t_ns=S, link="r1-server", direction="reverse", text="loss 2%"),
        ChangeMark(t_ns=2 * S, link="r1-server", direction="reverse", text="delay 5ms"),
    ]
    drawn.changes.extend(marks)
    for chart in (
        figures.latency_over_time(drawn),
        figures.throughput(drawn),
        figures.queue_length(drawn),
    ):
        assert isinstance(chart, figures.Chart)
        assert [shape["x0"] for shape in chart.layout["shapes"]] == [1.0, 2.0]
        names = [note["text"] for note in chart.layout["annotations"]]
        assert names[:2] == ["1", "2"]


def test_a_capacity_that_changed_is_a_line_with_steps() -> None:
    drawn = series()
    for one in drawn.throughput:
        if one.bottleneck:
            one.capacity_steps.extend([(0, 10_000_000), (S, 4_000_000)])
    chart = figures.throughput(drawn)
    assert isinstance(chart, figures.Chart)
    (line,) = [trace for trace in chart.data if trace.get("name") == "capacity"]
    assert line["x"][:2] == [0.0, 1.0]
    assert line["y"] == [10.0, 4.0, 4.0]
    assert "annotations" not in chart.layout


def printed(width: int, **changes: Any) -> list[str]:
    seen = summary(links={"r1-server": {"forward": direction(**changes), "reverse": direction()}})
    out = io.StringIO()
    Console(file=out, width=width).print(link_table.render(seen, built(), width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(("trace", "use"), [(False, "511 %"), (True, scale.NOTHING)])
def test_no_peak_use_of_a_capacity_that_follows_a_trace(trace: bool, use: str) -> None:
    lte = Trace(name="lte", opportunities=10, period_ms=10, sha256="")
    made = built(trace=lte) if trace else built()
    busy = direction(capacity_bit_s=1_000_000, peak_throughput_bit_s=5_110_000.0)
    seen = summary(links={"r1-server": {"forward": busy}})
    out = io.StringIO()
    Console(file=out, width=118).print(link_table.render(seen, made, 118))
    line = next(one for one in out.getvalue().splitlines() if one.startswith("r1 → server  "))
    assert line.split("  ")[-1].strip() == use
    page = html.render(made, seen, series(), [])
    assert ("511 %" in page) == (not trace)


RULE = Impairment(
    impairment="corruption",
    rule="1%",
    since_ns=None,
    packets=100,
    count=0,
    configured_ratio=0.01,
    realised_ratio=0.0,
    holds=True,
)


@pytest.mark.parametrize("width", [78, 118])
def test_columns_for_what_is_in_play(width: int) -> None:
    plain = "\n".join(printed(width))
    assert "dupli-" not in plain
    assert "rupted" not in plain
    copied = printed(width, duplicated_packets=1_234_567)
    assert "dupli-" in copied[0]
    assert "rupted" not in copied[1]
    assert any("1\u202f234\u202f567" in line for line in copied)
    asked = "\n".join(printed(width, impairments=[RULE], corrupted_packets=None))
    assert "rupted" in asked
    both = printed(width, duplicated_packets=99_999, corrupted_packets=99_999)
    assert max(len(line.rstrip()) for line in both) <= width
    assert any("99.9 %" in line or "99\u202f999" in line for line in both)


def test_the_page_says_what_was_asked_for_and_what_was_done() -> None:
    broken = msgspec.structs.replace(RULE, expected=3, holds=False, rule="every <9>")
    seen = summary(
        links={"r1-server": {"forward": direction(impairments=[broken], notes=["a note"])}}
    )
    made = manifest(changes=[change(manifest(), "forward", "loss <b>", 6 * S)])
    page = html.render(made, seen, series(), [])
    assert "every &lt;9&gt;" in page
    assert "✗ not kept" in page
    assert "loss &lt;b&gt;" in page
    assert "cor-<br>rupted" in page
    assert "r1 → server: a note." in page
    assert "dupli-<br>cated" not in page


def test_a_ledger_with_copies_has_a_column_for_them() -> None:
    plain = html.render(manifest(), summary(), series(), [])
    assert '<th scope="col">made</th>' not in plain
    rows = [msgspec.structs.replace(summary().ledger.rows[0], made=5)]
    ledger = msgspec.structs.replace(summary().ledger, rows=rows)
    page = html.render(manifest(), summary(ledger=ledger), series(), [])
    assert '<th scope="col">made</th>' in page
