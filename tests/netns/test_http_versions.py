"""Rule: with HTTP/1.1 and HTTP/2, with TLS and without, requests are followed through all layers;
what the processes moved is what crossed the wire; and no key is left behind.

Loss and reordering of 1 % each way, and four users, who share one connection with HTTP/2.
"""

from __future__ import annotations

from typing import Any, Final

import polars as pl
import pytest

from testbed import Link, Load, Recording, Scenario, run
from testbed.recording.layout import Layout
from tests.netns import test_system_calls as moved
from tests.support.runs import manifest_of

REQUESTS: Final = 200
DELAY_NS: Final = 20_000_000
LINK: Final = Link(capacity="10mbit", delay="20ms", loss="1%", reorder="1%")
CASES: Final[list[tuple[str, dict[str, Any], dict[str, Any]]]] = [
    ("1.1", {}, {}),
    ("1.1-tls", {"tls": True}, {}),
    ("2", {"http": "2"}, {}),
    ("2-tls", {"http": "2", "tls": True}, {}),
    ("2-tls-new", {"http": "2", "tls": True}, {"new_connections": True}),
]


@pytest.fixture(scope="module", params=CASES, ids=[name for name, *_ in CASES])
def recording(
    request: pytest.FixtureRequest, mark: str, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    _, fields, load = request.param
    scenario = Scenario(
        topology="single_bottleneck",
        app="hello",
        link=LINK,
        load=Load(users=4, requests=REQUESTS, **load),
        seed=7,
        **fields,
    )
    return run(scenario, tmp_path_factory.mktemp("versions") / "run")


@pytest.fixture(scope="module")
def stages(recording: Recording) -> pl.DataFrame:
    return pl.read_parquet(Layout(recording.root).events("journeys"))


@pytest.fixture(scope="module")
def requests(recording: Recording) -> pl.DataFrame:
    return pl.read_parquet(Layout(recording.root).events("http"))


def asked(recording: Recording) -> Scenario:
    return manifest_of(recording.root).scenario


def test_it_was_spoken(recording: Recording, requests: pl.DataFrame) -> None:
    scenario = asked(recording)
    assert requests["failure"].drop_nulls().to_list() == []
    assert set(requests["http_version"]) == {f"HTTP/{scenario.http}"}
    assert requests["tls_ended_ns"].is_not_null().any() == scenario.tls
    shared = 1 if scenario.http == "2" else 4
    connections = REQUESTS if scenario.load.new_connections else shared
    assert recording.summary.http.connections == connections
    assert recording.summary.ledger.balanced, recording.summary.ledger


def test_nearly_all_of_nearly_all_requests_is_explained(
    recording: Recording, requests: pl.DataFrame, stages: pl.DataFrame
) -> None:
    journeys = recording.summary.journeys
    assert journeys is not None
    assert journeys.requests == REQUESTS
    assert journeys.explained_requests_ratio is not None
    assert journeys.explained_requests_ratio >= 0.99
    for one in requests.iter_rows(named=True):
        mine = stages.filter(pl.col("request_id") == one["request_id"]).sort("place")
        assert mine["started_ns"][0] == one["intended_ns"]
        assert mine["ended_ns"][-1] == one["ended_ns"]
        assert mine["started_ns"][1:].to_list() == mine["ended_ns"][:-1].to_list()
        assert mine["duration_ns"].sum() == one["latency_ns"]


def test_each_way_over_the_wire_is_its_delay(stages: pl.DataFrame, recording: Recording) -> None:
    """Nobody's bytes are taken for another's: each request and each answer crosses once, in no
    less than the delay, whatever shares its connection.
    """
    for part in ("request", "response"):
        wire = stages.filter((pl.col("part") == part) & (pl.col("stage") == "on the wire"))
        ways = wire.filter(pl.col("duration_ns") >= DELAY_NS)
        # A reordered segment that came in the shadow of another has less than its way left.
        assert ways["request_id"].n_unique() >= 0.95 * REQUESTS, part


def test_a_handshake_of_tls_is_one_way_there_and_one_back(
    stages: pl.DataFrame, requests: pl.DataFrame, recording: Recording
) -> None:
    new = requests.filter(pl.col("new_connection"))
    ways = 4 if asked(recording).tls else 2
    for request_id in new["request_id"]:
        mine = stages.filter(
            (pl.col("request_id") == request_id)
            & (pl.col("part") == "connect")
            & (pl.col("stage") == "on the wire")
        )
        assert mine.height == ways


def test_streams_wait_for_their_connection_and_not_for_one_another(
    stages: pl.DataFrame, requests: pl.DataFrame, recording: Recording
) -> None:
    scenario = asked(recording)
    waits = stages.filter(pl.col("stage") == "waits for a connection of the pool")
    if scenario.http == "2" and not scenario.load.new_connections:
        # The three users who were not the first, once.
        assert waits["request_id"].n_unique() == 3
        opener = requests.filter(pl.col("new_connection"))
        ready_ns = opener.select(pl.max_horizontal("connect_ended_ns", "tls_ended_ns")).item()
        assert (waits["ended_ns"] == ready_ns).all()


@pytest.mark.parametrize("node", moved.HOSTS)
def test_calls_moved_what_was_captured(recording: Recording, node: str) -> None:
    moved.test_calls_moved_the_bytes_of_the_captures(recording.root, node)


@pytest.mark.parametrize("node", moved.HOSTS)
def test_no_byte_left_or_was_read_too_early(recording: Recording, node: str) -> None:
    moved.test_no_byte_left_before_its_call_nor_was_read_before_it_came(recording.root, node)


def test_no_key_is_in_the_recording(recording: Recording) -> None:
    for path in recording.root.rglob("*"):
        assert not path.is_file() or b"PRIVATE KEY" not in path.read_bytes(), path
