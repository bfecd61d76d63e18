"""Rule: a connection that does not come about is followed too: where its SYN was lost, or that the
server did not answer it; and what a server's process does not show hides nothing of the way back.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

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


CLOSING = '''
import os
import socket

async def app(scope, receive, send):
    """Answers, and listens no longer: elsewhere, in the place of the server's socket."""
    if scope["type"] != "http":
        return
    for name in os.listdir("/proc/self/fd"):
        try:
            known = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with known:
            if known.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                with socket.create_server(("", 0)) as other:
                    other.setblocking(False)
                    os.dup2(other.fileno(), int(name))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
'''


def test_a_refused_connection_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closing.py").write_text(CLOSING, encoding="utf-8")
    scenario = Scenario(
        topology="single_bottleneck",
        app="closing:app",
        link=Link(delay="30ms"),
        load=Load(rate="5/s", arrivals="periodic", requests=5, new_connections=True),
        seed=7,
    )
    recording = run(scenario, tmp_path / "run")
    assert recording.summary.http.failures == {"ConnectError": 4}
    stages = stages_of(recording, "ConnectError")
    refused = stages.filter(pl.col("stage") == "connection refused")
    assert refused["request_id"].n_unique() == 4
    assert refused["where"].unique().to_list() == ["server"]
    wires = stages.filter(pl.col("stage") == "on the wire")
    assert sorted(wires["where"].to_list()) == ["r1-client"] * 4 + ["r1-server"] * 4
    assert "backpressure" not in stages["kind"].to_list()
    assert unexplained_ratio(stages) < 0.2


def test_what_was_on_its_way_was_not_lost(tmp_path: Path) -> None:
    """The SYN comes after the client gave up in one run, the answer to it in the other."""
    for delay, way in (("200ms", "r1-server"), ("50ms", "r1-client")):
        scenario = Scenario(
            topology="single_bottleneck",
            link=Link(delay=delay),
            load=Load(rate="10/s", requests=4, connect_timeout="80ms"),
            seed=7,
        )
        recording = run(scenario, tmp_path / delay)
        stages = stages_of(recording, "ConnectTimeout")
        assert stages["request_id"].n_unique() == 4
        last = stages.sort("place").group_by("request_id").last()
        assert last["stage"].unique().to_list() == ["on the wire"]
        assert last["where"].unique().to_list() == [way]
        assert unexplained_ratio(stages) < 0.01


def test_nothing_is_said_of_a_server_that_is_not_known(tmp_path: Path) -> None:
    scenario = Scenario(
        topology="load_balancer",
        link=Link(reverse=Way(loss="100%")),
        load=Load(rate="10/s", requests=5, connect_timeout=f"{GIVEN_UP_MS}ms"),
        seed=7,
    )
    stages = stages_of(run(scenario, tmp_path / "run"), "ConnectTimeout")
    assert stages["request_id"].n_unique() == 5
    assert "backpressure" not in stages["kind"].to_list()
    assert stages.filter(pl.col("kind") == "unexplained")["request_id"].n_unique() == 5


def test_a_request_that_nobody_accepted_waited_in_the_queue(tmp_path: Path) -> None:
    scenario = Scenario(
        topology="single_bottleneck",
        app="blocking",
        backlog=4,
        load=Load(
            rate="20/s",
            arrivals="periodic",
            requests=4,
            path="/?hold=1500ms",
            new_connections=True,
            timeout=f"{GIVEN_UP_MS}ms",
        ),
        seed=7,
    )
    recording = run(scenario, tmp_path / "run")
    assert recording.summary.http.failures == {"ReadTimeout": 4}
    stages = stages_of(recording, "ReadTimeout")
    queued = stages.filter(pl.col("stage") == "in the accept queue")
    # The first one is being served meanwhile.
    assert queued["request_id"].n_unique() == 3
    assert all(ns > GIVEN_UP_MS * 500_000 for ns in queued["duration_ns"].to_list())
    assert (
        unexplained_ratio(stages.filter(pl.col("request_id").is_in(queued["request_id"].implode())))
        < 0.02
    )
