"""Rule: whatever the server, every layer says what it saw of it or why it saw nothing; journeys add
up; and those of servers with an event loop are explained.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl
import pytest

from testbed import Link, Load, Recording, Scenario, run
from testbed.recording.layout import Layout
from testbed.scenario.servers import MODELS, SERVERS
from tests.support.runs import manifest_of

REQUESTS: Final = 60
CASES: Final[list[tuple[str, dict[str, Any]]]] = [
    *((name, {"server": name}) for name in SERVERS if name != "hypercorn"),
    ("uvicorn workers tls", {"server": "uvicorn", "workers": 2, "tls": True}),
    ("hypercorn-asyncio 2 tls", {"server": "hypercorn-asyncio", "http": "2", "tls": True}),
    ("threaded tls", {"server": "threaded", "tls": True}),
    ("hypercorn workers", {"server": "hypercorn", "workers": 3}),
]


@pytest.fixture(scope="module", params=CASES, ids=[name for name, _ in CASES])
def recording(
    request: pytest.FixtureRequest, mark: str, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    scenario = Scenario(
        topology="single_bottleneck",
        link=Link(capacity="10mbit", delay="5ms", loss="1%"),
        load=Load(users=4, requests=REQUESTS),
        seed=7,
        **request.param[1],
    )
    return run(scenario, tmp_path_factory.mktemp("models") / "run")


def test_all_is_served_and_the_application_is_seen(recording: Recording) -> None:
    assert (recording.http.completed, recording.http.failed) == (REQUESTS, 0)
    asgi = recording.summary.layers["asgi"]
    assert asgi.status == "observed"
    assert asgi.loss is not None
    assert asgi.loss["requests"] == REQUESTS
    assert recording.summary.ledger.balanced


def test_a_layer_says_what_it_lacks(recording: Recording) -> None:
    model = MODELS[manifest_of(recording.root).scenario.server]
    layers = recording.summary.layers
    for name in ("event_loop", "syscall"):
        layer = layers[name]
        assert layer.status == "observed"  # of the clients in any case
        blind = model.blind(name)
        assert layer.reason == (f"of the clients only: {blind}" if blind else model.lacking(name))
        table = pl.read_parquet(Layout(recording.root).events(name))
        assert ("server" in table["node"].unique().to_list()) == (not blind)


def test_journeys_add_up_and_are_explained_where_both_ends_are_seen(recording: Recording) -> None:
    slow = recording.summary.journeys
    assert slow is not None
    stages = pl.read_parquet(Layout(recording.root).events("journeys"))
    requests = pl.read_parquet(Layout(recording.root).events("http"))
    assert stages["request_id"].n_unique() == REQUESTS
    spent = stages.group_by("request_id").agg((pl.col("ended_ns") - pl.col("started_ns")).sum())
    latency = requests.select("request_id", total=pl.col("ended_ns") - pl.col("intended_ns"))
    both = spent.join(latency, on="request_id")
    assert both.height == REQUESTS
    assert (both["ended_ns"] == both["total"]).all()
    model = MODELS[manifest_of(recording.root).scenario.server]
    if model.loop is not None:
        # All of them on a quiet machine.
        assert slow.explained_requests_ratio is not None
        assert slow.explained_requests_ratio >= 0.95


def test_each_worker_is_a_process_of_its_own(recording: Recording) -> None:
    manifest = manifest_of(recording.root)
    servers = [one.name for one in manifest.processes if one.kind == "server"]
    workers = manifest.scenario.workers
    wanted = ["server"] if workers == 1 else [f"server.{n}" for n in range(1, workers + 1)]
    assert servers == wanted
    assert {one.exit_code for one in manifest.processes if one.kind == "server"} == {0}
    for name in wanted:
        assert (recording.root / "segments" / f"asgi.{name}.seg").is_file()
