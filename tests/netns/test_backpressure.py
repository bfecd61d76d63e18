"""Rule: each kind of backpressure lights up its own layer, and the sentence names it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from testbed import Recording, run
from testbed.analysis.summary import Backpressure, Origin
from testbed.scenario import Link, Load, Scenario

READER = Scenario(
    topology="single_bottleneck",
    app="stream",
    load=Load(requests=1, path="/?size=400kB", read_rate="400kbit"),
    seed=7,
)
WRITER = Scenario(
    topology="single_bottleneck",
    app="upload",
    load=Load(requests=2, method="POST", body="100kB", write_rate="400kbit"),
    seed=7,
)
LINK = Scenario(
    topology="single_bottleneck",
    app="stream",
    load=Load(requests=2, path="/?size=300kB"),
    link=Link(capacity="1mbit"),
    seed=7,
)
LOOP = Scenario(
    topology="single_bottleneck",
    app="blocking",
    load=Load(users=4, requests=30, path="/?hold=100ms"),
    seed=7,
)
ACCEPT = Scenario(
    topology="single_bottleneck",
    app="blocking",
    backlog=8,
    # Five a second are served and twenty come: the queue overflows as long as they do.
    load=Load(
        rate="20/s",
        requests=160,
        path="/?hold=200ms",
        new_connections=True,
        connect_timeout="4s",
    ),
    seed=7,
)
QUIET = Scenario(
    topology="single_bottleneck",
    load=Load(rate="20/s", arrivals="periodic", requests=40),
    seed=7,
)
APPLICATION = Scenario(
    topology="single_bottleneck",
    app="upload",
    # More than Hypercorn (640 KiB) and the receive buffer take together; the long queue drops
    # nothing, so that TCP is limited by the receiver and by nothing else.
    load=Load(requests=1, method="POST", body="4MB", path="/?rate=5mbit"),
    link=Link(capacity="20mbit", queue="1000p", delay="1ms"),
    seed=7,
)


def pressure(scenario: Scenario, root: Path) -> tuple[Recording, Backpressure]:
    recording = run(scenario, root)
    found = recording.summary.backpressure
    assert found is not None
    assert found.not_observed == []
    return recording, found


def assert_that_only_waiting_is_in_the_queue(recording: Recording) -> None:
    """What was sent again because the queue was full did not wait in it."""
    stages = pl.read_parquet(recording.root / "events" / "journeys.parquet")
    dropped = stages.filter(pl.col("stage") == "accept queue full, last ACK dropped")
    assert dropped.height >= 1
    queued = stages.filter(pl.col("stage") == "in the accept queue")["duration_ns"].to_list()
    # Nine places, and nine more that were accepted before, of 0.2 s each; half as much again.
    assert max(queued) < 18 * 0.2e9 * 1.5


@pytest.mark.parametrize(
    ("scenario", "layer", "node", "what", "sentence"),
    [
        pytest.param(READER, "http", "client", "reader", "the client's reader", id="slow reader"),
        pytest.param(WRITER, "http", "client", "writer", "the client's writer", id="slow writer"),
        pytest.param(
            LINK, "qdisc", "r1", "queue r1 → client", "the link r1 → client", id="slow link"
        ),
        pytest.param(
            LOOP, "event_loop", "server", "blocked", "the server's event loop", id="blocked loop"
        ),
        pytest.param(
            ACCEPT,
            "socket",
            "server",
            "accept queue full",
            "the server's accept queue (backlog 8)",
            id="full accept queue",
        ),
        pytest.param(
            APPLICATION,
            "asgi",
            "server",
            "reader",
            "the server's application",
            id="slow application",
        ),
    ],
)
def test_the_origin_is_named(
    scenario: Scenario, layer: str, node: str, what: str, sentence: str, tmp_path: Path
) -> None:
    recording, found = pressure(scenario, tmp_path / "run")
    assert found.origin == Origin(layer=layer, node=node, what=what), found.sentence
    assert found.sentence.startswith(f"pressure comes from {sentence}: ")
    (stop,) = (s for s in found.stops if (s.layer, s.node, s.what) == (layer, node, what))
    assert stop.waited_ratio > 0.1
    windows = pl.read_parquet(recording.root / "events" / "backpressure.parquet").filter(
        (pl.col("layer") == layer) & (pl.col("node") == node) & (pl.col("what") == what)
    )
    if scenario is ACCEPT:
        assert_that_only_waiting_is_in_the_queue(recording)
    # The series says the same as the sum, but for the last window, which may reach beyond the load.
    assert windows["waited_ns"].sum() == pytest.approx(stop.waited_ns, rel=0.02)
    assert windows["amount"].max() == stop.peak_amount


def test_where_nothing_waits_nobody_is_named(tmp_path: Path) -> None:
    _, found = pressure(QUIET, tmp_path / "run")
    assert found.origin is None, found.sentence
    assert found.sentence == "no backpressure to speak of"
