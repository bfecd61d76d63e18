"""Rule: a connection that does not come about is followed too: where its SYN was lost, or that the
server did not answer it; and what a server's process does not show hides nothing of the way back.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from testbed import Link, Load, Recording, Scenario, Way, run
from testbed.recording.layout import Layout

GIVEN_UP_MS = 700
"""Before the first SYN is sent again (RFC 6298: 1 s)."""


def stages_of(recording: Recording, failure: str | None) -> pl.DataFrame:
    layout = Layout(recording.root)
    requests = pl.read_parquet(layout.events("http")).select("request_id", "failure", "latency_ns")
    stages = pl.read_parquet(layout.events("journeys"))
    mine = stages.join(requests, on="request_id").filter(pl.col("failure").eq_missing(failure))
    return mine.with_columns(pl.col("stage").cast(pl.String), pl.col("kind").cast(pl.String))


def unexplained_ratio(stages: pl.DataFrame) -> float:
    lost = stages.filter(pl.col("kind") == "unexplained")
    ratio: float = sum(lost["duration_ns"].to_list()) / sum(stages["duration_ns"].to_list())
    return ratio


def test_syns_that_were_lost_name_their_link(tmp_path: Path) -> None:
    scenario = Scenario(
        topology="single_bottleneck",
        link=Link(forward=Way(loss="100%")),
        load=Load(rate="10/s", requests=5, connect_timeout=f"{GIVEN_UP_MS}ms"),
        seed=7,
    )
    recording = run(scenario, tmp_path / "run")
    assert recording.summary.http.failures == {"ConnectTimeout": 5}
    stages = stages_of(recording, "ConnectTimeout")
    assert stages["request_id"].n_unique() == 5
    recovery = stages.filter(pl.col("kind") == "recovery")
    assert recovery.height == 5
    assert recovery["where"].unique().to_list() == ["r1-server"]
    assert recovery["note"].unique().to_list() == ["by handshake timeout"]
    # Half of it, on a busy machine.
    assert all(ns > GIVEN_UP_MS * 500_000 for ns in recovery["duration_ns"].to_list())
    assert unexplained_ratio(stages) < 0.01


def test_answers_that_were_lost_name_their_link(tmp_path: Path) -> None:
    scenario = Scenario(
        topology="single_bottleneck",
        link=Link(reverse=Way(loss="100%")),
        load=Load(rate="10/s", requests=5, connect_timeout=f"{GIVEN_UP_MS}ms"),
        seed=7,
    )
    recording = run(scenario, tmp_path / "run")
    stages = stages_of(recording, "ConnectTimeout")
    recovery = stages.filter(pl.col("kind") == "recovery")
    assert recovery.height == 5
    assert recovery["where"].unique().to_list() == ["r1-client"]
    assert unexplained_ratio(stages) < 0.01


def test_syns_that_found_the_accept_queue_full_say_so(tmp_path: Path) -> None:
    scenario = Scenario(
        topology="single_bottleneck",
        app="blocking",
        backlog=4,
        load=Load(
            rate="30/s",
            requests=60,
            path="/?hold=200ms",
            new_connections=True,
            connect_timeout=f"{GIVEN_UP_MS}ms",
        ),
        seed=7,
    )
    recording = run(scenario, tmp_path / "run")
    stages = stages_of(recording, "ConnectTimeout")
    given_up = recording.summary.http.failures["ConnectTimeout"]
    assert given_up >= 10
    dropped = stages.filter(pl.col("stage") == "accept queue full, SYN dropped")
    assert dropped["request_id"].n_unique() == given_up
    assert dropped["where"].unique().to_list() == ["server"]
    assert unexplained_ratio(stages) < 0.01


def test_a_server_that_is_not_seen_hides_only_itself(tmp_path: Path) -> None:
    scenario = Scenario(
        topology="single_bottleneck",
        server="threaded",
        link=Link(capacity="10mbit", delay="20ms"),
        load=Load(users=1, requests=10, path="/?hold=30ms"),
        app="cpu",
        seed=7,
    )
    recording = run(scenario, tmp_path / "run")
    stages = stages_of(recording, None)
    assert stages["request_id"].n_unique() == 10
    wires = stages.filter(pl.col("stage") == "on the wire").group_by("part", "where").len()
    found = {(part, where): count for part, where, count in wires.sort("part").iter_rows()}
    assert found[("request", "r1-server")] == 10
    assert found[("response", "r1-client")] == 10
    # One gap for each request: from what came to the server until what left it.
    gaps = stages.filter(pl.col("kind") == "unexplained").group_by("request_id").len()
    assert gaps["len"].to_list() == [1] * 10
