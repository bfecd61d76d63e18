"""The backpressure map as it is shown: a row for each stop that waited, one sentence, no markup."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from testbed.analysis.series import PressureSeries, Series
from testbed.analysis.summary import Backpressure, Origin
from testbed.report import heat_map
from testbed.report.figures import Chart, NoChart
from testbed.report.html import render
from testbed.report.text import print_report
from tests.builders.summaries import MS, S, manifest, summary


def stop(layer: str, node: str, what: str, *ratios: float, unit: str = "bytes") -> PressureSeries:
    return PressureSeries(
        layer=layer,
        node=node,
        what=what,
        unit=unit,
        window_ns=500 * MS,
        t_ns=[place * 500 * MS for place in range(len(ratios))],
        waited_ratio=list(ratios),
        amount=[1500 if ratio else 0 for ratio in ratios],
    )


def run(*stops: PressureSeries) -> Series:
    return Series(origin_ns=0, duration_ns=S, pressure=list(stops))


READER = stop("http", "client", "reader", 1.0, 0.25)
FOUND = Backpressure(
    origin=Origin(layer="http", node="client", what="reader"),
    sentence="pressure comes from the client's reader: its receive buffer was full",
    stops=[],
)


def chart(series: Series, found: Backpressure | None = FOUND) -> Chart:
    made = heat_map.backpressure(series, found)
    assert isinstance(made, Chart)
    return made


def test_a_row_for_each_stop_in_the_order_of_the_way() -> None:
    made = chart(run(stop("asgi", "server", "send", 0.5, 0.5), READER))
    heat = made.data[0]
    assert heat["y"] == ["server: in send()", "<b>client: reader</b>"]
    assert heat["z"] == [[0.5, 0.5], [1.0, 0.25]]
    assert heat["x"] == [0.25, 0.75]
    assert (heat["zmin"], heat["zmax"]) == (0, 1)
    assert made.layout["yaxis"]["autorange"] == "reversed"


def test_beside_the_pointer_stands_how_long_and_how_much() -> None:
    heat = chart(run(stop("qdisc", "r1", "queue r1 → client", 0.333, 0, unit="packets"), READER))
    assert heat.data[0]["text"][0] == [
        "waited 33.3 % of the time, at most 1500 packets",
        "nothing waited",
    ]
    assert heat.data[0]["text"][1][0] == "waited 100 % of the time, at most 1.5 kB"


def test_who_hardly_waited_is_left_out() -> None:
    assert chart(run(stop("asgi", "server", "send", 0.01, 0.0), READER)).data[0]["y"] == [
        "<b>client: reader</b>"
    ]


def test_a_sentence_where_there_is_nothing_to_draw() -> None:
    nothing = heat_map.backpressure(run(), None)
    assert nothing == NoChart("Nothing waited for 1 % of the load.")
    unseen = replace(run(), missing={"pressure": "probes were off"})
    assert heat_map.backpressure(unseen, None) == NoChart("not observed: probes were off")


def test_rows_of_one_name_are_told_apart_and_names_are_no_markup() -> None:
    name = "queue <i>r1</i> → client"
    both = run(
        stop("qdisc", "r1", name, 1.0, unit="packets"),
        stop("link", "r1", name, 1.0, unit="packets"),
    )
    assert chart(both, None).data[0]["y"] == [
        "queue &lt;i&gt;r1&lt;/i&gt; → client (qdisc)",
        "queue &lt;i&gt;r1&lt;/i&gt; → client (link)",
    ]


@pytest.mark.parametrize("rows", [1, 20])
def test_the_chart_is_as_high_as_its_rows(rows: int) -> None:
    made = chart(run(*(stop("asgi", f"server{n}", "send", 1.0) for n in range(rows))))
    assert made.layout["height"] == 70 + 26 * rows


def test_the_sentence_is_on_the_page_and_in_the_terminal() -> None:
    seen = summary(backpressure=FOUND)
    page = render(manifest(), seen, run(READER), [])
    assert "Pressure comes from the client&#39;s reader: its receive buffer was full." in page
    assert 'id="chart-backpressure"' in page
    out = io.StringIO()
    print_report(Console(file=out, width=120), seen)
    assert f"\nBackpressure\n  {FOUND.sentence}\n" in "\n".join(
        line.rstrip() for line in out.getvalue().splitlines()
    )


@pytest.mark.parametrize("width", range(60, 100))
def test_a_number_and_its_unit_stay_on_one_line(width: int) -> None:
    sentence = "it was full 73 % of the time, with up to 93 kB unread, and waited 11.8 s in send()"
    seen = summary(backpressure=Backpressure(origin=None, sentence=sentence, stops=[]))
    out = io.StringIO()
    print_report(Console(file=out, width=width), seen)
    shown = out.getvalue().partition("\nBackpressure\n")[2].partition("\n\n")[0].splitlines()
    assert " ".join(line.strip() for line in shown) == sentence
    assert [line for line in shown if line.rstrip().endswith(("73", "93", "11.8"))] == []


def test_a_summary_of_an_earlier_version_has_no_such_section() -> None:
    page = render(manifest(), summary(), run(READER), [])
    assert "h-backpressure" not in page
    # Nor data that would be drawn where there is no place for it.
    assert '"heatmap"' not in page.partition('id="figures"')[2].partition("</script>")[0]
    out = io.StringIO()
    print_report(Console(file=out, width=120), summary())
    assert "\nBackpressure" not in out.getvalue()
