"""The charts: right units, bounded size, limits in sight, words where nothing is to be drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testbed.analysis.series import LatencySeries, Series
from testbed.report import axes, figures
from tests.builders.drawn_series import series
from tests.builders.summaries import MS, S


def latencies(*values_ns: int, failed: bool = False) -> Series:
    return Series(
        origin_ns=0,
        duration_ns=S,
        latency=[
            LatencySeries(
                process="client",
                node="client",
                t_ns=[place * MS for place in range(len(values_ns))],
                latency_ns=list(values_ns),
                failed=[failed for _ in values_ns],
                request_id=[f"{place:032x}" for place in range(len(values_ns))],
            )
        ],
    )


def chart(made: figures.Chart | figures.NoChart) -> figures.Chart:
    assert isinstance(made, figures.Chart)
    return made


def sentence(made: figures.Chart | figures.NoChart) -> str:
    assert isinstance(made, figures.NoChart)
    return made.sentence


def trace(of: figures.Chart, name: str) -> dict[str, Any]:
    [found] = [one for one in of.data if one.get("name") == name]
    return found


EMPTY = Series(
    origin_ns=0,
    duration_ns=0,
    missing={
        "latency": "no client left a record",
        "throughput": "nothing was captured",
        "queues": "probes were off",
    },
)


def test_what_was_not_observed_is_said_with_its_reason() -> None:
    assert sentence(figures.latency_over_time(EMPTY)) == "not observed: no client left a record"
    assert (
        sentence(figures.latency_distribution(EMPTY, [])) == "not observed: no client left a record"
    )
    assert sentence(figures.throughput(EMPTY)) == "not observed: nothing was captured"
    assert sentence(figures.queue_length(EMPTY)) == "not observed: probes were off"


def test_one_request_makes_one_point() -> None:
    one = latencies(41 * MS)
    points = trace(chart(figures.latency_over_time(one)), "completed")
    assert (points["x"], points["y"]) == ([0.0], [41.0])
    curve = chart(figures.latency_distribution(one, [41 * MS])).data[0]
    assert curve["x"] == [41.0, 41.0]
    assert curve["y"] == [0, 100.0]


def test_failed_requests_are_marked_by_shape_and_name() -> None:
    made = chart(figures.latency_over_time(series()))
    failed, completed = trace(made, "failed"), trace(made, "completed")
    assert failed["marker"]["symbol"] != completed["marker"]["symbol"]
    assert len(failed["x"]) == sum(series().latency[0].failed)


def test_when_all_failed_there_is_no_distribution() -> None:
    run = latencies(30 * S, 30 * S, failed=True)
    assert [one["name"] for one in chart(figures.latency_over_time(run)).data] == ["failed"]
    assert sentence(figures.latency_distribution(run, [])) == "No request was completed."


def test_a_hundred_thousand_requests_are_thinned_and_keep_what_matters() -> None:
    values = [40 * MS + place for place in range(100_000)]
    values[77_777] = 60 * MS
    run = latencies(*values)
    run.latency[0].failed[11] = True
    made = chart(figures.latency_over_time(run))
    drawn = sum(len(one["x"]) for one in made.data)
    assert figures.MAX_POINTS / 2 < drawn <= figures.MAX_POINTS
    assert len(trace(made, "failed")["x"]) == 1
    assert max(trace(made, "completed")["y"]) == 60.0
    assert len(chart(figures.latency_distribution(run, values)).data[0]["x"]) <= 501


def test_quantiles_of_the_distribution_are_by_nearest_rank() -> None:
    made = chart(figures.latency_distribution(latencies(1), [n * MS for n in range(1, 101)]))
    dots = made.data[1]
    assert dict(zip(dots["text"], dots["x"], strict=True)) == {" p50": 50, " p90": 90, " p99": 99}


def test_the_axis_is_logarithmic_when_a_few_dwarf_the_others() -> None:
    even = chart(figures.latency_over_time(latencies(*[41 * MS] * 9, 120 * MS)))
    assert "type" not in even.layout["yaxis"]
    assert even.layout["yaxis"]["title"]["text"] == "latency (ms)"
    skewed = chart(figures.latency_over_time(latencies(*[41 * MS] * 9, 2_160 * MS)))
    assert skewed.layout["yaxis"]["type"] == "log"
    assert skewed.layout["yaxis"]["ticktext"] == [
        *("50 ms", "100 ms", "200 ms", "500 ms", "1 s", "2 s")
    ]


def test_capacity_is_a_line_when_the_traffic_comes_near_it() -> None:
    made = chart(figures.throughput(series()))
    assert made.layout["yaxis"]["title"]["text"] == "throughput (Mbit/s)"
    assert [one["text"] for one in made.layout["annotations"]] == ["capacity 10 Mbit/s"]
    assert made.data[-1]["y"][:2] == [10.0, 10.0]


def test_capacity_does_not_press_little_traffic_flat() -> None:
    run = series()
    little = [replace(one, bit_s=[x / 100 for x in one.bit_s]) for one in run.throughput]
    made = chart(figures.throughput(replace(run, throughput=little)))
    assert made.layout["yaxis"]["title"]["text"] == "throughput (kbit/s)"
    assert [one["text"] for one in made.layout["annotations"]] == ["capacity 10 Mbit/s, far above"]
    assert len(made.data) == len(little)


def test_bottlenecks_are_drawn_and_the_others_can_be_switched_on() -> None:
    made = chart(figures.throughput(series()))
    visible = {one["name"]: one["visible"] for one in made.data if "name" in one}
    assert visible == {
        "server → r1": True,
        "r1 → server": True,
        "r1 → client": "legendonly",
        "client → r1": "legendonly",
    }


def test_queue_with_its_limit() -> None:
    made = chart(figures.queue_length(series(), frozenset({("r1-server", "reverse")})))
    assert [one.get("name") for one in made.data] == [
        "server-eth0 (pfifo)",
        "r1-eth1 (pfifo)",
        None,
    ]
    assert made.data[0]["visible"] is True
    assert made.data[1]["visible"] == "legendonly"
    assert made.layout["annotations"][0]["text"] == "limit 50 packets"


def test_queues_that_were_always_empty_are_a_sentence() -> None:
    run = series()
    empty = [replace(one, packets=[0 for _ in one.packets]) for one in run.queues]
    words = sentence(figures.queue_length(replace(run, queues=empty)))
    assert words == "No packet was seen waiting: 2 queues were empty at every sample."


def test_time_axes_agree() -> None:
    run = series()
    ranges = [
        chart(made).layout["xaxis"]["range"]
        for made in (
            figures.latency_over_time(run),
            figures.throughput(run),
            figures.queue_length(run),
        )
    ]
    assert ranges[0] == ranges[1] == ranges[2]


@pytest.mark.parametrize("most", [0, 1, 2, 10, 99, 100, 101])
def test_evenly_spread_places(most: int) -> None:
    places = axes.even(100, most)
    assert len(places) == min(100, most)
    assert len(set(places)) == len(places)
    assert places == sorted(places)
    assert not places or places[-1] == 99


def colours(value: object) -> set[str]:
    if isinstance(value, dict):
        return {found for one in value.values() for found in colours(one)}
    if isinstance(value, list):
        return {found for one in value for found in colours(one)}
    return {value} if isinstance(value, str) and value.startswith("#") else set()


def test_no_colour_is_written_out() -> None:
    for made in (figures.throughput(series()), figures.latency_over_time(series())):
        assert colours([chart(made).data, chart(made).layout]) == set()
