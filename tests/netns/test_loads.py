"""Rule: whatever the load is like, each attempt is an exchange that the ledger and journeys know,
and the summary counts requests.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from testbed import Link, Load, Recording, Scenario, run
from testbed.recording.layout import Layout
from tests.support.runs import manifest_of

SLOW = """
import anyio
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/slow":
        await anyio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""


def ran(folder: Path, load: Load, **fields: Any) -> Recording:
    link = Link(capacity="10mbit", delay="5ms")
    settings: dict[str, Any] = {"topology": "single_bottleneck", "link": link, "seed": 7, **fields}
    found = run(Scenario(load=load, **settings), folder / "run")
    assert found.summary.ledger.balanced, found.summary.ledger
    return found


def table(recording: Recording, name: str) -> pl.DataFrame:
    return pl.read_parquet(Layout(recording.root).events(name))


def check_journeys(recording: Recording, completed: int) -> None:
    """Stages of each attempt are contiguous and add up to its latency."""
    journeys = recording.summary.journeys
    assert journeys is not None
    assert journeys.requests == completed
    stages = table(recording, "journeys")
    for one in table(recording, "http").iter_rows(named=True):
        mine = stages.filter(pl.col("request_id") == one["request_id"])
        if mine.height:
            assert mine["duration_ns"].sum() == one["latency_ns"], one


@pytest.mark.parametrize("client", ["httpx", "httpx2"])
def test_several_processes_make_one_load(mark: str, tmp_path: Path, client: Any) -> None:
    recording = ran(tmp_path, Load(users=6, requests=46, processes=3, client=client))
    http = recording.http
    assert (http.requests, http.completed, http.attempts) == (46, 46, 46)
    assert http.connections == 6
    requests = table(recording, "http").sort("number")
    assert requests["number"].to_list() == list(range(46))
    assert Counter(requests["process"]) == {"client.1": 16, "client.2": 15, "client.3": 15}
    assert set(requests["node"]) == {"client"}
    assert set(requests["user"]) == set(range(6))
    names = {one.name for one in manifest_of(recording.root).processes if one.kind == "load"}
    assert names == {"client.1", "client.2", "client.3"}
    check_journeys(recording, 46)


def test_attempts_balance_and_requests_are_counted(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/slow takes 1 s and is given 200 ms, three times: no attempt of it completes."""
    (tmp_path / "service.py").write_text(SLOW)
    monkeypatch.chdir(tmp_path)
    load = Load(
        users=2,
        requests=20,
        mix=("3 GET /", "1 GET /slow"),
        read_timeout="200ms",
        retries=2,
        backoff="10ms",
    )
    recording = ran(tmp_path, load, app="service:app")
    http = recording.http
    fast, slow = http.mix
    assert http.requests == 20 == fast.requests + slow.requests
    assert slow.requests > 0
    assert http.failures == {"ReadTimeout": slow.requests}
    assert http.retried == {"ReadTimeout": 2 * slow.requests}
    assert http.attempts == 20 + 2 * slow.requests
    assert (fast.failed, slow.failed) == (0, slow.requests)
    rows = table(recording, "http")
    assert rows["request_id"].n_unique() == rows.height == http.attempts
    last = rows.filter(pl.col("attempt") == 2)
    assert set(last["retry_of"]) <= set(rows.filter(pl.col("attempt") == 0)["request_id"])
    assert last["latency_ns"].min() > 3 * 200_000_000  # type: ignore[operator]
    called = set(table(recording, "asgi")["request_id"].drop_nulls())
    assert called == set(rows["request_id"])
    check_journeys(recording, fast.requests)


def test_what_is_dropped_or_given_up_is_in_no_other_layer(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 are due within 1 s; those that are made take 1 s, and are given up after 300 ms."""
    (tmp_path / "service.py").write_text(SLOW)
    monkeypatch.chdir(tmp_path)
    load = Load(
        rate="50/s",
        arrivals="periodic",
        requests=50,
        path="/slow",
        max_in_flight=4,
        cancel="100% after 300ms",
    )
    recording = ran(tmp_path, load, app="service:app")
    http = recording.http
    assert http.requests == 50
    assert set(http.failures) == {"Dropped", "CancelledByClient"}
    assert sum(http.failures.values()) == 50 == http.failed
    # At least two sets of four: the second begins after 300 ms.
    assert http.failures["CancelledByClient"] >= 8
    rows = table(recording, "http")
    dropped = rows.filter(pl.col("failure") == "Dropped")
    assert dropped["local_port"].null_count() == dropped.height == http.failures["Dropped"]
    assert not set(dropped["request_id"]) & set(table(recording, "asgi")["request_id"])


def test_a_trace_of_arrivals_is_in_the_recording(mark: str, tmp_path: Path) -> None:
    times_ns = [0, 20_000_000, 20_000_000, 400_000_000]
    file = tmp_path / "times.txt"
    file.write_text("# when\n" + "".join(f"{at_ns}ns\n" for at_ns in times_ns))
    recording = ran(tmp_path, Load(arrivals=f"trace {file}"))
    rows = table(recording, "http").sort("number")
    start_ns = rows["intended_ns"][0]
    assert [at_ns - start_ns for at_ns in rows["intended_ns"]] == times_ns
    known = manifest_of(recording.root).arrivals
    assert known is not None
    assert (known.file, known.times, known.last_ns) == (str(file), 4, 400_000_000)
    file.unlink()
    assert manifest_of(recording.root).scenario.load.is_open
