"""Rule: whatever the server model, an application is served, observed and stopped the same way;
what differs is how many clients are served at once.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
from contextlib import ExitStack
from itertools import accumulate, count
from pathlib import Path
from typing import Final

import httpx
import polars as pl
import pytest

from testbed.live.certificates import Certificates
from testbed.load.identity import identity
from testbed.scenario.servers import MODELS, SERVERS
from tests.unit.processes import DEADLINE_S, Server, server, unready_server, wait_for, write_app

MODEL = pytest.mark.parametrize("model", SERVERS)
ASYNCIO = pytest.mark.parametrize("model", ["hypercorn-asyncio", "uvicorn"])
WITHOUT_LOOP: Final = [name for name, model in MODELS.items() if model.loop is None]
APP = """
import time
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/block":
        time.sleep(0.05)
    if scope["path"] == "/fail":
        raise ZeroDivisionError("on purpose")
    total, more = 0, True
    while more:
        message = await receive()
        total += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d " % total, "more_body": True})
    await send({"type": "http.response.body", "body": scope["query_string"]})
"""
WSGI = """
def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("201 Created", [("x-threads", str(environ["wsgi.multithread"])),
                                   ("x-processes", str(environ["wsgi.multiprocess"]))])
    return [environ["REQUEST_METHOD"].encode(), b" ", str(len(body)).encode()]
"""


def traceparent(number: int) -> dict[str, str]:
    return {"traceparent": identity(seed=1, process="test", number=number).traceparent}


def end(child: Server) -> None:
    child.end_stdin()
    assert child.exit_code() == 0, child.log()


@MODEL
def test_serves_23_requests_and_records_each(tmp_path: Path, model: str) -> None:
    with server(tmp_path, "hello", server=model) as child:
        with httpx.Client(trust_env=False) as client:
            for number in range(23):
                assert client.get(child.url, headers=traceparent(number)).content == (
                    b"Hello, world!\n"
                )
        end(child)
    found = child.asgi()
    assert [exchange.request_id for exchange in found] == [
        identity(seed=1, process="test", number=number).trace_id for number in range(23)
    ]
    assert {exchange.status for exchange in found} == {200}
    ports = {exchange.client_port for exchange in found}
    assert len(ports) == (1 if MODELS[model].loop else 23)


@MODEL
def test_bodies_go_both_ways(tmp_path: Path, model: str) -> None:
    app = write_app(tmp_path, APP)
    with server(tmp_path, app, server=model) as child:
        answer = httpx.post(child.url + "/x%20y?a=b%26c", content=b"x" * 300_000, trust_env=False)
        assert (answer.status_code, answer.content) == (200, b"300000 a=b%26c")
        end(child)
    [exchange] = child.asgi()
    assert exchange.path == "/x y"
    assert sum(size for call, _, _, size in exchange.calls if call == "receive") == 300_000
    assert [size for call, _, _, size in exchange.calls if call == "send"] == [0, 7, 7]


@MODEL
def test_a_body_that_nobody_reads_does_not_take_the_answer_away(tmp_path: Path, model: str) -> None:
    with server(tmp_path, "hello", server=model) as child:
        answer = httpx.post(child.url, content=b"x" * 300_000, trust_env=False)
        assert answer.content == b"Hello, world!\n"
        end(child)


@MODEL
def test_failing_handler_is_recorded_and_the_server_goes_on(tmp_path: Path, model: str) -> None:
    app = write_app(tmp_path, APP)
    with server(tmp_path, app, server=model) as child:
        assert httpx.get(child.url + "/fail", trust_env=False).status_code == 500
        assert httpx.get(child.url + "/", trust_env=False).status_code == 200
        end(child)
    failed, good = child.asgi()
    assert failed.exception == "ZeroDivisionError: on purpose"
    assert good.exception is None
    assert "ZeroDivisionError: on purpose" in child.log()


@MODEL
@pytest.mark.parametrize("how", ["SIGTERM", "end of stdin"])
def test_stops_although_a_client_does_not_read(tmp_path: Path, model: str, how: str) -> None:
    with (
        server(tmp_path, "stream", server=model) as child,
        socket.create_connection(("127.0.0.1", child.port)) as connection,
    ):
        connection.sendall(b"GET /?size=1GB HTTP/1.1\r\nhost: server\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        if how == "end of stdin":
            child.end_stdin()
        else:
            child.process.send_signal(signal.Signals[how])
        assert child.exit_code() == 0, child.log()
    [exchange] = child.asgi()
    assert exchange.status == 200
    if model != "uvicorn":  # its send() takes everything, once the client is gone
        assert sum(size for _, _, _, size in exchange.calls) < 10**9


@MODEL
def test_who_is_served_while_another_client_is_silent(tmp_path: Path, model: str) -> None:
    request = b"GET / HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n"
    with ExitStack() as stack:
        child = stack.enter_context(server(tmp_path, "hello", server=model))
        address = ("127.0.0.1", child.port)
        silent = stack.enter_context(socket.create_connection(address))
        silent.sendall(request[:10])
        other = stack.enter_context(socket.create_connection(address))
        other.sendall(request)
        other.settimeout(0.5 if model == "blocking" else DEADLINE_S)
        if model == "blocking":
            with pytest.raises(TimeoutError):
                other.recv(12)
            other.settimeout(DEADLINE_S)
            silent.sendall(request[10:])
        assert other.recv(12) == b"HTTP/1.1 200"
        if model != "blocking":
            silent.sendall(request[10:])
        silent.settimeout(DEADLINE_S)
        assert silent.recv(12) == b"HTTP/1.1 200"
        end(child)


@MODEL
@pytest.mark.parametrize(
    ("source", "last"),
    [
        pytest.param(
            "async def app(scope, receive, send):\n"
            "    await receive()\n"
            "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n",
            'the application "service:app" failed its startup: no database (ASGI lifespan)',
            id="lifespan fails",
        ),
        pytest.param(
            "import anyio\nasync def app(scope, receive, send):\n    await anyio.sleep_forever()\n",
            "did not complete its startup in time (ASGI lifespan)",
            id="lifespan hangs",
        ),
    ],
)
def test_application_that_cannot_start(tmp_path: Path, model: str, source: str, last: str) -> None:
    app = write_app(tmp_path, source)
    with unready_server(tmp_path, app, server=model, startup_timeout_ns=100_000_000) as child:
        assert child.exit_code() == 4
    assert last in child.log().splitlines()[-1]
    assert "Running on" not in child.log()


@MODEL
def test_the_lifespan_comes_first_and_last(tmp_path: Path, model: str) -> None:
    source = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        print("request", scope["state"]["number"], flush=True)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    scope["state"]["number"] = 23
    for _ in range(2):
        message = await receive()
        print(message["type"], flush=True)
        await send({"type": message["type"] + ".complete"})
"""
    with server(tmp_path, write_app(tmp_path, source), server=model) as child:
        assert httpx.get(child.url, trust_env=False).status_code == 204
        end(child)
    said = (tmp_path / "server.stdout").read_text().splitlines()
    assert said == ["lifespan.startup", "request 23", "lifespan.shutdown"]


@pytest.mark.parametrize("model", WITHOUT_LOOP)
def test_a_wsgi_application(tmp_path: Path, model: str) -> None:
    with server(tmp_path, write_app(tmp_path, WSGI), server=model) as child:
        answer = httpx.put(child.url, content=b"x" * 70_000, trust_env=False)
        assert (answer.status_code, answer.content) == (201, b"PUT 70000")
        assert answer.headers["x-threads"] == str(model == "threaded")
        assert answer.headers["x-processes"] == str(model == "forking")
        assert answer.headers["connection"] == "close"
        end(child)
    assert child.asgi() == []


@pytest.mark.parametrize("model", WITHOUT_LOOP)
def test_a_body_of_unknown_length_is_refused(tmp_path: Path, model: str) -> None:
    with server(tmp_path, "hello", server=model) as child:
        answer = httpx.post(child.url, content=iter([b"x"]), trust_env=False)
        assert answer.status_code == 411
        end(child)
    assert child.asgi() == []


@ASYNCIO
def test_a_blocking_handler_is_a_long_step_of_asyncio(tmp_path: Path, model: str) -> None:
    with server(tmp_path, write_app(tmp_path, APP), server=model) as child:
        assert httpx.get(child.url + "/block", trust_env=False).status_code == 200
        end(child)
    steps = child.steps()
    long = steps["ended_ns"] - steps["started_ns"] >= 50_000_000
    assert long.sum() >= 1
    assert (steps["task"][long] > 0).all()
    assert (steps["scheduled_ns"] <= steps["started_ns"]).all()
    records = child.segment("event_loop").records()
    # A loop does one thing at a time: the next begins when the last has ended.
    assert (records["started_ns"][1:] >= records["ended_ns"][:-1]).all()


@MODEL
def test_tls(tmp_path: Path, model: str) -> None:
    authority = Certificates()
    descriptor = authority.issue(["127.0.0.1"], None)
    with server(tmp_path, "hello", server=model, tls_fd=descriptor) as child:
        trusting = ssl.create_default_context(cadata=authority.ca_pem)
        answer = httpx.get(child.url, verify=trusting, trust_env=False)
        assert answer.content == b"Hello, world!\n"
        with pytest.raises(httpx.ConnectError):
            httpx.get(child.url, trust_env=False)
        assert httpx.get(child.url, verify=trusting, trust_env=False).status_code == 200
        end(child)
    assert len(child.asgi()) == 2


@MODEL
def test_workers_share_a_socket(tmp_path: Path, model: str) -> None:
    """Each of two processes answers, and each says that it listens."""
    app = write_app(
        tmp_path,
        "import os\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http': raise NotImplementedError\n"
        f"    who = {'os.getppid()' if model == 'forking' else 'os.getpid()'}\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'%d' % who})\n",
    )
    with ExitStack() as stack:
        shared = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        workers = []
        for number in (1, 2):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "service.py").write_text((tmp_path / "service.py").read_text())
            ready, told = os.pipe()
            stack.callback(os.close, ready)
            listening = os.dup(shared.fileno())
            child = stack.enter_context(
                unready_server(folder, app, server=model, listen_fds=[listening], ready_fd=told)
            )
            assert os.read(ready, 64) == b"ASGI\n", child.log()
            workers.append(child)
        url = f"http://127.0.0.1:{shared.getsockname()[1]}"
        seen: set[int] = set()

        def both() -> bool:
            seen.add(int(httpx.get(url, trust_env=False).content))
            return len(seen) == 2

        # Who accepts is the kernel's choice.
        wait_for(both, lambda: str(seen))
        assert seen == {child.process.pid for child in workers}
        for child in workers:
            child.end_stdin()
            assert child.exit_code() == 0, child.log()


@ASYNCIO
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_system_calls_of_asyncio(tmp_path: Path, model: str, *, tls: bool) -> None:
    authority = Certificates()
    descriptor = authority.issue(["127.0.0.1"], None) if tls else None
    app = write_app(tmp_path, APP)
    with server(tmp_path, app, server=model, tls_fd=descriptor) as child:
        context = ssl.create_default_context(cadata=authority.ca_pem)
        with httpx.Client(verify=context, trust_env=False) as client:
            for _ in range(23):
                assert client.post(child.url, content=b"x" * 10_000).content.startswith(b"10000 ")
        end(child)
    found = child.system_calls()
    listener, connection = found.connections.sort("connection").to_dicts()
    assert (listener["role"], listener["local_port"]) == ("server", child.port)
    assert (connection["role"], connection["local_port"]) == ("server", child.port)
    assert listener["remote_port"] is None
    assert connection["remote_port"] == child.asgi()[0].client_port
    calls = found.calls
    accepts = calls.filter(pl.col("call") == "accept")
    assert accepts["connection"].unique().to_list() == [listener["connection"]]
    assert accepts["error"].null_count() == 1  # the others found nobody
    mine = calls.filter(pl.col("connection") == connection["connection"])
    received = mine.filter((pl.col("call") == "recv") & (pl.col("bytes") > 0))
    # The requests' bodies, and their heads, and with TLS its own.
    assert 23 * 10_000 < received["bytes"].sum() < 23 * 10_600 + 5000 * tls
    assert mine.filter(pl.col("call") == "send")["bytes"].sum() > 23 * len(b"10000 ")
    assert mine["call"].to_list().count("close") == 1
    # Offsets are where each call begins in its stream.
    assert received["offset_bytes"].to_list() == [
        *accumulate(received["bytes"].to_list()[:-1], initial=0)
    ]


@ASYNCIO
def test_asyncio_without_a_descriptor_left(tmp_path: Path, model: str) -> None:
    with server(tmp_path, "hello", server=model) as child:
        used = {int(entry.name) for entry in Path(f"/proc/{child.process.pid}/fd").iterdir()}
        free = next(number for number in count() if number not in used)
        _, most = resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE, (free, most))
        with socket.create_connection(("127.0.0.1", child.port)) as waiting:
            wait_for(lambda: "out of system resource" in child.log(), child.log)
            resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE, (most, most))
            waiting.settimeout(DEADLINE_S)
            waiting.sendall(b"GET / HTTP/1.1\r\nhost: server\r\n\r\n")
            assert waiting.recv(12) == b"HTTP/1.1 200"
        end(child)
    accepts = child.system_calls().calls.filter(pl.col("call") == "accept")
    assert accepts["error"].to_list().count("EMFILE") >= 1


@pytest.mark.parametrize("model", WITHOUT_LOOP)
def test_blocking_servers_say_that_there_is_no_descriptor_left(tmp_path: Path, model: str) -> None:
    with server(tmp_path, "hello", server=model) as child:
        used = {int(entry.name) for entry in Path(f"/proc/{child.process.pid}/fd").iterdir()}
        free = next(number for number in count() if number not in used)
        _, most = resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE, (free, most))
        with socket.create_connection(("127.0.0.1", child.port)) as waiting:
            wait_for(
                lambda: "accept returned EMFILE (Too many open files)" in child.log(), child.log
            )
            resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE, (most, most))
            waiting.settimeout(DEADLINE_S)
            waiting.sendall(b"GET / HTTP/1.1\r\nhost: server\r\n\r\n")
            assert waiting.recv(12) == b"HTTP/1.1 200"
        end(child)
