"""Rule: the stages of a request are contiguous, add up to its latency, and name what it was.

One run with exact patterns of loss on both directions of the bottleneck, so that what must be seen
is known: the relay's log and the kernels' own counters say the same.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl
import pytest

from testbed import Link, Load, Recording, Scenario, run
from testbed.recording.layout import Layout
from tests.support.relay_log import read_relay_log

REQUESTS: Final = 115
LINK: Final = Link(capacity="10mbit", delay="20ms", loss="segments 5,40,77")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    scenario = Scenario(
        topology="single_bottleneck",
        app="hello",
        link=LINK,
        load=Load(users=1, requests=REQUESTS),
        probes="all",
        seed=7,
    )
    return run(scenario, tmp_path_factory.mktemp("journeys") / "run")


def read(recording: Recording, name: str) -> pl.DataFrame:
    return pl.read_parquet(Layout(recording.root).events(name))


@pytest.fixture(scope="module")
def stages(recording: Recording) -> pl.DataFrame:
    return read(recording, "journeys")


def test_stages_are_contiguous_and_add_up_to_the_latency(
    recording: Recording, stages: pl.DataFrame
) -> None:
    requests = read(recording, "http")
    assert requests.height == REQUESTS
    for request in requests.iter_rows(named=True):
        mine = stages.filter(pl.col("request_id") == request["request_id"]).sort("place")
        assert mine["started_ns"][0] == request["intended_ns"]
        assert mine["ended_ns"][-1] == request["ended_ns"]
        assert mine["started_ns"][1:].to_list() == mine["ended_ns"][:-1].to_list()
        assert (mine["duration_ns"] > 0).all()
        assert mine["duration_ns"].sum() == request["latency_ns"]


def test_nearly_all_of_nearly_all_requests_is_explained(recording: Recording) -> None:
    journeys = recording.summary.journeys
    assert journeys is not None
    assert journeys.requests == recording.summary.http.completed
    # The project's promise: of 99 % of the requests 99 % are explained.
    assert journeys.explained_requests_ratio is not None
    assert journeys.explained_requests_ratio >= 0.99


def test_every_loss_of_data_is_a_recovery_where_the_log_has_it(
    recording: Recording, stages: pl.DataFrame
) -> None:
    """One user and one segment each way: whatever data was lost held up its request."""
    recoveries = stages.filter(pl.col("stage") == "recovery")
    for name, way, where in (
        ("r1-server", "forward", "r1-server"),
        ("client-r1", "reverse", "r1-client"),
    ):
        log = read_relay_log(Layout(recording.root).segment(f"link.{name}"), way)
        assert sum(packet.fate == "lost" for packet in log) == 3
        assert recoveries.filter(pl.col("where") == where).height == 3
    assert recoveries.height == 6


def test_how_segments_were_brought_back_is_what_the_kernels_counted(
    recording: Recording, stages: pl.DataFrame
) -> None:
    recoveries = stages.filter(pl.col("stage") == "recovery")
    counted = {
        "by handshake timeout": "TcpExt.TCPSynRetrans",
        "by fast retransmit": "TcpExt.TCPFastRetrans",
        "by tail loss probe": "TcpExt.TCPLossProbes",
        "by timeout": "TcpExt.TCPTimeouts",
    }
    assert set(recoveries["note"].unique()) <= set(counted)
    for note, counter in counted.items():
        seen = recoveries.filter(pl.col("note") == note).height
        assert seen <= counters(recording, counter), note


def counters(recording: Recording, name: str, node: str | None = None) -> int:
    table = read(recording, "tcp_counters").filter(pl.col("counter") == name)
    if node is not None:
        table = table.filter(pl.col("node") == node)
    grown = table.group_by("node").agg(pl.col("value").max() - pl.col("value").min())
    return int(grown["value"].sum())


def test_a_new_connection_has_its_handshake(recording: Recording, stages: pl.DataFrame) -> None:
    requests = read(recording, "http")
    connecting = set(requests.filter(pl.col("new_connection"))["request_id"])
    assert set(stages.filter(pl.col("part") == "connect")["request_id"]) == connecting
    handshakes = stages.filter((pl.col("part") == "connect") & (pl.col("kind") == "propagation"))
    # There and back again, 20 ms each, as the relay was set.
    assert handshakes["where"].to_list() == ["r1-server", "r1-client"] * len(connecting)
    assert (handshakes["duration_ns"] == 20_000_000).all()


def test_the_wire_takes_what_was_set(stages: pl.DataFrame) -> None:
    wires = stages.filter((pl.col("stage") == "on the wire") & (pl.col("where") == "r1-server"))
    assert wires.height >= REQUESTS
    assert (wires["duration_ns"] == 20_000_000).all()


def test_why_slow(recording: Recording) -> None:
    journeys = recording.summary.journeys
    assert journeys is not None
    by_quantile: dict[str, Any] = {at.quantile: at for at in journeys.why_slow}
    assert list(by_quantile) == ["p50", "p90", "p99"]
    for at in by_quantile.values():
        assert sum(one.ratio for one in at.stages) + at.other_ratio == pytest.approx(1)
    assert by_quantile["p50"].stages[0].kind == "propagation"
    assert by_quantile["p99"].stages[0].kind == "recovery"
    assert journeys.sentence.startswith("p99 is ")
    assert "recovery" in journeys.sentence
