"""Every request that is due is recorded, with an outcome out of the documented set."""

from __future__ import annotations

import re
import socket
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from testbed.analysis.decode.exchanges import http_table
from testbed.analysis.metrics.http import http_summary
from testbed.events import outcomes
from testbed.events.http import HttpExchange
from testbed.load.draws import Draws
from testbed.load.identity import identity
from testbed.load.share import Share
from testbed.probes.http_library import library
from testbed.scenario import Load
from tests.unit.processes import CHECKOUT, client, run_load, server, write_app

FLAKY = """
seen = {}
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    while (await receive()).get("more_body"):
        pass
    key = scope["path"]
    seen[key] = seen.get(key, 0) + 1
    status = 503 if seen[key] % 3 else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""
SLOW = """
import trio
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await trio.sleep(0.2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""
HANG = """
import trio
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    print("waiting", flush=True)
    await trio.sleep_forever()
"""


def exceptions(kind: type[BaseException]) -> set[str]:
    below = kind.__subclasses__()
    return {one.__name__ for one in below if not one.__subclasses__()}.union(
        *(exceptions(one) for one in below)
    )


def test_every_exception_of_a_client_is_an_outcome_and_on_the_page() -> None:
    """Those that other exceptions are kinds of are never raised themselves."""
    found = {"InvalidURL"}
    for http in (library("httpx").http, library("httpx2").http):
        found |= exceptions(http.HTTPError) | exceptions(http.StreamError)
    assert set(outcomes.EXCEPTIONS) == found
    assert all(outcomes.is_outcome(name) for name in found)
    page = (CHECKOUT / "docs/reference/outcomes.md").read_text(encoding="utf-8")
    before = page.partition("## Retries")[0]
    named = set(re.findall(r"`([A-Z]\w+)`", before))
    assert named == {*outcomes.EXCEPTIONS, *outcomes.BY_CLIENT}


def test_what_is_no_outcome() -> None:
    assert outcomes.is_outcome(None)
    assert outcomes.is_outcome("HTTP 503")
    for wrong in ("", "HTTP", "HTTP 200", "HTTP x", "KeyError", "Retried"):
        assert not outcomes.is_outcome(wrong)


def test_retries_are_exchanges_of_their_own(tmp_path: Path) -> None:
    """The application answers every third time it is asked: three attempts for each request."""
    asked = Load(requests=23, path="/same", retries=2, backoff="1ms")
    with server(tmp_path, write_app(tmp_path, FLAKY)) as app:
        load = run_load(tmp_path, asked, [app.url])
        app.process.terminate()
        assert app.exit_code() == 0
    found = load.http()
    assert [(one.number, one.attempt) for one in found] == [
        (number, attempt) for number in range(23) for attempt in range(3)
    ]
    assert [one.failure for one in found] == ["HTTP 503", "HTTP 503", None] * 23
    assert [one.retried for one in found] == [True, True, False] * 23
    for number in range(23):
        first, *others = found[3 * number : 3 * number + 3]
        assert first.request_id == identity(seed=7, process="client", number=number).trace_id
        assert (first.retry_of, first.first_intended_ns) == (None, None)
        assert {one.retry_of for one in others} == {first.request_id}
        assert {one.first_intended_ns for one in others} == {first.intended_ns}
        times = [at for one in (first, *others) for at in (one.intended_ns, one.ended_ns)]
        assert times == sorted(times)
    # Each attempt is known to the server by its own id.
    assert {one.request_id for one in app.asgi()} == {one.request_id for one in found}
    assert len(app.asgi()) == 69
    numbers = http_summary(http_table(load.segment("http"), found))
    assert (numbers.requests, numbers.completed, numbers.failed) == (23, 23, 0)
    assert (numbers.attempts, numbers.retried) == (69, {"HTTP 503": 46})
    assert numbers.latency_ns is not None
    assert numbers.latency_ns.max == max(
        found[3 * n + 2].ended_ns - found[3 * n].intended_ns for n in range(23)
    )


def test_what_may_have_been_done_is_not_tried_again(tmp_path: Path) -> None:
    asked = Load(requests=5, method="POST", body="1kB", retries=2, backoff="1ms")
    with server(tmp_path, write_app(tmp_path, FLAKY)) as app:
        load = run_load(tmp_path, asked, [app.url])
    found = load.http()
    assert len(found) == 5
    assert {(one.attempt, one.retried) for one in found} == {(0, False)}


def test_what_no_server_saw_is_tried_again_whatever_it_is(tmp_path: Path) -> None:
    asked = Load(requests=3, method="POST", body="1kB", retries=1, backoff="1ms")
    with server(tmp_path, "hello") as app:
        url = app.url
    load = run_load(tmp_path, asked, [url])
    assert [one.failure for one in load.http()] == ["ConnectError"] * 6
    assert [one.retried for one in load.http()] == [True, False] * 3


def test_total_timeout_counts_over_all_attempts(tmp_path: Path) -> None:
    """A read timeout of 100 ms, tried again at once: the third attempt is cut short at 250 ms."""
    asked = Load(requests=1, read_timeout="100ms", retries=9, backoff="0", total_timeout="250ms")
    with server(tmp_path, write_app(tmp_path, HANG)) as app:
        load = run_load(tmp_path, asked, [app.url])
    found = load.http()
    assert [one.failure for one in found[:-1]] == ["ReadTimeout"] * (len(found) - 1)
    assert found[-1].failure == "TotalTimeout"
    assert found[-1].message == "took longer than 250ms"
    assert found[-1].ended_ns - found[0].started_ns >= 250_000_000
    assert [one.retried for one in found] == [True] * (len(found) - 1) + [False]


def test_the_client_gives_up_what_was_drawn(tmp_path: Path) -> None:
    """Answers take 200 ms: all of them come, but for those that are given up after 20 ms."""
    asked = Load(users=8, requests=40, cancel="30% after 20ms")
    with server(tmp_path, write_app(tmp_path, SLOW)) as app:
        load = run_load(tmp_path, asked, [app.url])
    found = load.http()
    draws = Draws(asked, seed=7, host="client")
    expected = {number for number in range(40) if draws.cancel_ns(number) is not None}
    assert 3 < len(expected) < 30
    assert {one.number for one in found if one.failure == "CancelledByClient"} == expected
    assert Counter(one.failure for one in found)[None] == 40 - len(expected)
    for one in found:
        if one.failure:
            assert one.message == "given up after 20 ms"
            assert one.ended_ns - one.started_ns >= 19_000_000


def test_a_connection_that_is_being_opened_is_given_up(tmp_path: Path) -> None:
    """A listener whose queue is full drops every SYN."""
    asked = Load(users=5, requests=5, cancel="100% after 30ms", connect_timeout="20s")
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        load = run_load(tmp_path, asked, [f"http://127.0.0.1:{listener.getsockname()[1]}"])
    assert [one.failure for one in load.http()] == ["CancelledByClient"] * 5
    assert {one.message for one in load.http()} == {"given up after 30 ms"}
    assert all(one.new_connection and one.local_port is None for one in load.http())


def test_what_is_due_beyond_the_limit_is_dropped_and_counted(tmp_path: Path) -> None:
    """20 are due within 40 ms and take 200 ms: 3 are made, 17 dropped."""
    asked = Load(rate="500/s", arrivals="periodic", requests=20, max_in_flight=3)
    with (
        server(tmp_path, write_app(tmp_path, SLOW)) as app,
        client(tmp_path, asked, [app.url]) as child,
    ):
        child.go()
        last = child.last_line()
        assert child.exit_code() == 0
    found = child.http()
    assert [one.number for one in found] == list(range(20))
    made = [one for one in found if one.failure is None]
    dropped = [one for one in found if one.failure == "Dropped"]
    assert len(made) + len(dropped) == 20
    assert len(made) >= 3
    assert [one.number for one in made[:3]] == [0, 1, 2]
    assert {one.message for one in dropped} == {"3 requests were under way"}
    assert {(one.local_port, tuple(one.trace)) for one in dropped} == {(None, ())}
    assert (last["started"], last["completed"], last["failed"]) == (20, len(made), len(dropped))
    numbers = http_summary(http_table(child.segment("http"), found))
    assert numbers.requests == 20
    assert numbers.failures == {"Dropped": len(dropped)}


def test_out_of_time_in_a_back_off_the_last_attempt_stands(tmp_path: Path) -> None:
    asked = Load(requests=1, retries=1, backoff="1000s", total_timeout="2s")
    with server(tmp_path, write_app(tmp_path, FLAKY)) as app:
        load = run_load(tmp_path, asked, [app.url])
    (one,) = load.http()
    assert (one.failure, one.retried) == ("HTTP 503", False)


def test_processes_share_a_load(tmp_path: Path) -> None:
    """Three processes make the 23 requests that one would make, with the same ids."""
    asked = Load(users=4, requests=23, processes=3)
    found: list[HttpExchange] = []
    with server(tmp_path, "hello") as app:
        for index in range(3):
            folder = tmp_path / str(index)
            folder.mkdir()
            share = Share(index=index, processes=3)
            load = run_load(folder, asked, [app.url], share=share)
            found += load.http()
            assert {one.number % 3 for one in load.http()} == {index}
            assert {one.user for one in load.http()} <= {0, 1, 2, 3} & {index, index + 3}
    found.sort(key=lambda one: one.number)
    assert [one.request_id for one in found] == [
        identity(seed=7, process="client", number=number).trace_id for number in range(23)
    ]


def test_think_time_passes_between_requests(tmp_path: Path) -> None:
    asked = Load(users=2, requests=8, think="50ms")
    with server(tmp_path, "hello") as app:
        load = run_load(tmp_path, asked, [app.url])
    for user in (0, 1):
        own = [one for one in load.http() if one.user == user]
        gaps = [later.intended_ns - earlier.ended_ns for earlier, later in pairwise(own)]
        assert min(gaps) >= 50_000_000


def test_a_mix_is_made_and_summed_up_by_kind(tmp_path: Path) -> None:
    asked = Load(
        users=2,
        requests=23,
        mix=("2 GET /?size={size} size uniform 10B..20B", "1 GET /?wrong=1"),
    )
    with server(tmp_path, "stream") as app:
        load = run_load(tmp_path, asked, [app.url])
    found = load.http()
    for one in found:
        if one.entry == 0:
            assert one.size_bytes is not None
            assert one.path == f"/?size={one.size_bytes}"
            assert (one.failure, one.response_bytes) == (None, one.size_bytes)
        else:
            assert (one.failure, one.path) == ("HTTP 400", "/?wrong=1")
    counts = Counter(one.entry for one in found)
    numbers = http_summary(http_table(load.segment("http"), found), asked.entries)
    assert [(kind.kind, kind.requests, kind.failed) for kind in numbers.mix] == [
        ("GET /?size={size} size uniform 10B..20B", counts[0], 0),
        ("GET /?wrong=1", counts[1], counts[1]),
    ]
    assert numbers.mix[0].latency_ns is not None
    assert numbers.mix[1].latency_ns is None


def test_exchanges_of_earlier_versions_are_read() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b"{}", type=HttpExchange)
    fields = set(HttpExchange.__struct_fields__)
    new = {
        "attempt", "retried", "retry_of", "first_intended_ns", "entry", "size_bytes", "body_bytes",
    }  # fmt: skip
    required = {field.name for field in msgspec.structs.fields(HttpExchange) if field.required}
    assert new <= fields
    assert not new & required
