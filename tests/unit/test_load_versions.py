"""The load and the server speak what was asked for: HTTP/1.1 or HTTP/2, with TLS or without."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import trio

from testbed.analysis.decode.syscalls import DecodedSyscalls
from testbed.errors import MachineError
from testbed.events.http import HttpExchange
from testbed.live.certificates import Certificates
from testbed.probes.http import ConnectionBackend
from testbed.probes.http_library import check_client, library
from testbed.scenario import Load
from testbed.scenario.load import Client
from testbed.scenario.model import HttpVersion
from tests.unit.processes import Server, run_load, server

COMBINATIONS = pytest.mark.parametrize(
    ("http", "tls"),
    [("1.1", False), ("1.1", True), ("2", False), ("2", True)],
    ids=["1.1", "1.1-tls", "2", "2-tls"],
)
CLIENTS = pytest.mark.parametrize("made_by", ["httpx", "httpx2"])
HEADERS = """
import json
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    names = [name.decode() for name, _ in scope["headers"]]
    print(json.dumps([scope["scheme"], scope["http_version"], sorted(names)]), flush=True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""


@contextmanager
def speaking(
    folder: Path, app: str, http: HttpVersion, *, tls: bool
) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server, and what its clients are to be told."""
    run = Certificates() if tls else None
    descriptor = None if run is None else run.issue(["127.0.0.1"], None)
    with server(folder, app, http=http, tls_fd=descriptor) as child:
        yield child, {"http": http, "ca_pem": None if run is None else run.ca_pem}


@CLIENTS
@COMBINATIONS
def test_23_requests_and_where_they_are(
    tmp_path: Path, http: HttpVersion, made_by: Client, *, tls: bool
) -> None:
    with speaking(tmp_path, "hello", http, tls=tls) as (app, told):
        load = run_load(tmp_path, Load(users=4, requests=23, client=made_by), [app.url], **told)
        app.process.terminate()
        app.exit_code()
    found = load.http()
    assert {exchange.failure for exchange in found} == {None}
    assert {exchange.http_version for exchange in found} == {f"HTTP/{http}"}
    assert len({exchange.local_port for exchange in found}) == (1 if http == "2" else 4)
    assert [one.request_id for one in found] == [
        one.request_id for one in sorted(app.asgi(), key=lambda one: order(found, one.request_id))
    ]
    traced = {name for exchange in found for name, _ in exchange.trace}
    assert ("connection.start_tls.complete" in traced) == tls
    check_places(found, load.system_calls(), shared=tls and http == "2")


def order(found: list[HttpExchange], request_id: str | None) -> int:
    return [one.request_id for one in found].index(request_id or "")


def check_places(found: list[HttpExchange], system_calls: DecodedSyscalls, *, shared: bool) -> None:
    """Messages follow one another, each answer has an end of its own, and the call that brought it
    was made before the client had it.

    Args:
        found: the exchanges.
        system_calls: of the client.
        shared: messages may share records of TLS, and so places.
    """
    moved = system_calls.calls.filter(pl.col("bytes") > 0)
    received = moved.filter(pl.col("call").cast(pl.String) == "recv")
    for connection in {exchange.connection for exchange in found}:
        mine = [exchange for exchange in found if exchange.connection == connection]
        places = [(one.request_offset_bytes, one.request_end_bytes) for one in mine]
        spans = sorted((start, end) for start, end in places if start is not None and end)
        assert len(spans) == len(mine)
        assert all(start < end for start, end in spans)
        for (_, end), (start, later) in pairwise(spans):
            assert end <= (later if shared else start)
        if not shared:
            assert len({one.response_end_bytes for one in mine}) == len(mine)
        came = received.filter(pl.col("connection") == connection)
        for one in mine:
            assert one.response_end_bytes is not None
            last = came.filter(
                (pl.col("offset_bytes") < one.response_end_bytes)
                & (pl.col("offset_bytes") + pl.col("bytes") >= one.response_end_bytes)
            )
            assert last.height == 1
            assert one.started_ns < last["ended_ns"][0] <= one.ended_ns


@CLIENTS
@COMBINATIONS
def test_a_new_connection_for_each_request(
    tmp_path: Path, http: HttpVersion, made_by: Client, *, tls: bool
) -> None:
    with speaking(tmp_path, "hello", http, tls=tls) as (app, told):
        asked = Load(users=4, requests=46, new_connections=True, client=made_by)
        load = run_load(tmp_path, asked, [app.url], **told)
        app.process.terminate()
        app.exit_code()
    found = load.http()
    assert {exchange.failure for exchange in found} == {None}
    assert len({exchange.local_port for exchange in found}) == 46
    # And the server closes each as soon as the client has: none is open till the end.
    theirs = app.system_calls()
    last = theirs.calls.filter(pl.col("call").cast(pl.String) == "close")
    assert last["connection"].n_unique() >= 46


@COMBINATIONS
def test_headers_and_scope(tmp_path: Path, http: HttpVersion, *, tls: bool) -> None:
    (tmp_path / "names.py").write_text(HEADERS)
    with speaking(tmp_path, "names:app", http, tls=tls) as (app, told):
        run_load(tmp_path, Load(requests=1), [app.url], **told)
        app.process.terminate()
        app.exit_code()
    scheme, version, names = json.loads((tmp_path / "server.stdout").read_text())
    assert (scheme, version) == ("https" if tls else "http", http)
    assert ("connection" in names) == (http == "1.1")
    assert "traceparent" in names


@CLIENTS
@COMBINATIONS
def test_bodies_both_ways(tmp_path: Path, http: HttpVersion, made_by: Client, *, tls: bool) -> None:
    with speaking(tmp_path, "upload", http, tls=tls) as (app, told):
        # One user: httpcore 1.0 stalls where HTTP/2 streams that share a connection upload.
        asked = Load(users=1, requests=6, method="POST", body="200kB", client=made_by)
        load = run_load(tmp_path, asked, [app.url], **told)
        app.process.terminate()
        app.exit_code()
    assert {exchange.failure for exchange in load.http()} == {None}
    assert [exchange.request_bytes for exchange in load.http()] == [200_000] * 6
    assert sum(one.calls[-1][3] >= 0 for one in app.asgi()) == 6
    for exchange in load.http():
        assert exchange.request_end_bytes is not None
        assert exchange.request_offset_bytes is not None
        assert exchange.request_end_bytes - exchange.request_offset_bytes >= 200_000


@pytest.mark.parametrize("http", ["1.1", "2"])
def test_reading_and_writing_keep_to_their_rates_below_tls(
    tmp_path: Path, http: HttpVersion
) -> None:
    with speaking(tmp_path, "upload", http, tls=True) as (app, told):
        limited = Load(requests=1, method="POST", body="50kB", write_rate="1mbit")
        load = run_load(tmp_path, limited, [app.url], **told)
    (exchange,) = load.http()
    assert exchange.failure is None
    # As without TLS: 50 kB at 1 Mbit/s are 400 ms, less the first and the last piece.
    assert exchange.ended_ns - exchange.started_ns >= 360_000_000


@CLIENTS
def test_a_certificate_that_is_not_believed_is_an_outcome(tmp_path: Path, made_by: Client) -> None:
    with speaking(tmp_path, "hello", "1.1", tls=True) as (app, told):
        told["ca_pem"] = Certificates().ca_pem
        load = run_load(tmp_path, Load(requests=23, client=made_by), [app.url], **told)
        app.process.terminate()
        app.exit_code()
    found = load.http()
    assert [exchange.failure for exchange in found] == ["ConnectError"] * 23
    assert all("certificate verify failed" in exchange.message for exchange in found)
    assert {exchange.local_port for exchange in found} == {None}
    assert len({exchange.connection for exchange in found}) == 23
    assert app.asgi() == []


def test_a_server_without_tls_is_an_outcome(tmp_path: Path) -> None:
    with server(tmp_path, "hello") as app:
        url = app.url.replace("http:", "https:")
        load = run_load(tmp_path, Load(requests=2), [url], ca_pem=Certificates().ca_pem)
    assert {exchange.failure for exchange in load.http()} <= {"ConnectError", "ReadError"}


@CLIENTS
def test_places_know_what_tls_has_not_read_yet(made_by: Client) -> None:
    """The private attributes of httpcore's and trio's streams that exact places need."""
    run = Certificates()
    descriptor = run.issue(["127.0.0.1"], None)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(f"/proc/self/fd/{descriptor}")
    believing = ssl.create_default_context(cadata=run.ca_pem)

    async def attempt() -> bool:
        (below,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = trio.SSLListener(below, served)
        address = below.socket.getsockname()
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                stream = await listener.accept()
                await stream.do_handshake()
                await stream.aclose()

            nursery.start_soon(answer)
            backend = ConnectionBackend(library(made_by))
            plain = await backend.connect_tcp(*address)
            encrypted = await plain.start_tls(believing, "127.0.0.1")
            inner = getattr(encrypted, "_stream")  # noqa: B009 - private, and meant to be
            found = isinstance(getattr(inner._stream, "_incoming", None), ssl.MemoryBIO)
            await encrypted.aclose()
            await listener.aclose()
        return found

    assert trio.run(attempt)


def test_a_client_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none(name: str) -> None:
        return None

    check_client("httpx2")
    monkeypatch.setattr("testbed.probes.http_library.find_spec", find_none)
    with pytest.raises(MachineError) as caught:
        check_client("httpx2")
    assert caught.value.exit_code == 3
    assert "the library httpx2 is not installed; get it with: " in str(caught.value)
    assert "-m pip install 'asgi-testbed[httpx2]'" in str(caught.value)
