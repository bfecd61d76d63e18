"""The server process: it serves, it stops when it is told to, and it says why it cannot start."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import httpx
import polars as pl
import pytest

from testbed.load.identity import identity
from tests.unit.processes import CHECKOUT, DEADLINE_S, server, unready_server, wait_for, write_app

STOP_S = 20.0
"""Limit on a stop that takes about one second (the grace): far from the 60 s at which tests give up
and from the hour of keep-alive, so that it tells a stop from a hang even on a busy machine."""

SLOW = """
import time, trio
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/block":
        time.sleep(0.05)
    if scope["path"] == "/forever":
        print("waiting", flush=True)
        await trio.sleep_forever()
    if scope["path"] == "/fail":
        raise ZeroDivisionError("on purpose")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""


def traceparent(number: int) -> dict[str, str]:
    return {"traceparent": identity(seed=1, process="test", number=number).traceparent}


def test_serves_23_requests_and_records_each(tmp_path: Path) -> None:
    with server(tmp_path, "hello") as child:
        with httpx.Client(trust_env=False) as client:
            for number in range(23):
                assert client.get(child.url, headers=traceparent(number)).content == (
                    b"Hello, world!\n"
                )
        child.process.terminate()
        assert child.exit_code() == 0, child.log()
    found = child.asgi()
    assert [exchange.request_id for exchange in found] == [
        identity(seed=1, process="test", number=number).trace_id for number in range(23)
    ]
    assert {exchange.status for exchange in found} == {200}
    assert len({exchange.client_port for exchange in found}) == 1
    # Each request takes at least one step of the loop.
    assert len(child.steps()) >= 23


def test_blocking_handler_shows_as_a_long_step(tmp_path: Path) -> None:
    app = write_app(tmp_path, SLOW)
    with server(tmp_path, app) as child:
        assert httpx.get(child.url + "/block", trust_env=False).content == b"x"
        child.end_stdin()
        assert child.exit_code() == 0, child.log()
    steps = child.steps()
    assert (steps["ended_ns"] - steps["started_ns"]).max() >= 50_000_000


def test_without_a_descriptor_left_accepts_fail_by_name_and_work_again(tmp_path: Path) -> None:
    with server(tmp_path, "hello") as child:
        used = {int(entry.name) for entry in Path(f"/proc/{child.process.pid}/fd").iterdir()}
        free = next(number for number in count() if number not in used)
        _, most = resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE, (free, most))
        with socket.create_connection(("127.0.0.1", child.port)) as waiting:
            wait_for(lambda: "Too many open files" in child.log(), child.log)
            resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE, (most, most))
            waiting.settimeout(DEADLINE_S)
            waiting.sendall(b"GET / HTTP/1.1\r\nhost: server\r\n\r\n")
            assert waiting.recv(65536).startswith(b"HTTP/1.1 200")
        child.end_stdin()
        assert child.exit_code() == 0, child.log()
    calls = child.system_calls().calls.filter(pl.col("call") == "accept")
    failed = calls["error"].to_list().count("EMFILE")
    # trio.serve_listeners logs each and tries again after 100 ms.
    assert failed == child.log().count("accept returned EMFILE (Too many open files)") > 0
    assert calls["error"].null_count() == 1


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "end of stdin"])
def test_stops_and_records_what_is_under_way(tmp_path: Path, how: str) -> None:
    app = write_app(tmp_path, SLOW)
    with server(tmp_path, app) as child, socket.create_connection(("127.0.0.1", child.port)) as s:
        s.sendall(b"GET /forever HTTP/1.1\r\nhost: server\r\n\r\n")
        stdout = tmp_path / "server.stdout"
        wait_for(lambda: "waiting" in stdout.read_text(), child.log)
        began = time.monotonic()
        if how == "end of stdin":
            child.end_stdin()
        else:
            child.process.send_signal(signal.Signals[how])
        assert child.exit_code() == 0, child.log()
        assert time.monotonic() - began < STOP_S
    [exchange] = child.asgi()
    assert exchange.exception == "Cancelled"
    assert exchange.status is None


def test_stops_although_a_client_does_not_read(tmp_path: Path) -> None:
    with (
        server(tmp_path, "stream") as child,
        socket.create_connection(("127.0.0.1", child.port)) as connection,
    ):
        connection.sendall(b"GET /?size=1GB HTTP/1.1\r\nhost: server\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        began = time.monotonic()
        child.process.terminate()
        assert child.exit_code() == 0, child.log()
        assert time.monotonic() - began < STOP_S
    [exchange] = child.asgi()
    assert exchange.status == 200
    assert sum(size for _, _, _, size in exchange.calls) < 10**9


def test_failing_handler_is_recorded_and_the_server_goes_on(tmp_path: Path) -> None:
    app = write_app(tmp_path, SLOW)
    with server(tmp_path, app) as child:
        assert httpx.get(child.url + "/fail", trust_env=False).status_code == 500
        assert httpx.get(child.url + "/", trust_env=False).status_code == 200
        child.process.terminate()
        assert child.exit_code() == 0
    failed, good = child.asgi()
    assert failed.exception == "ZeroDivisionError: on purpose"
    assert good.exception is None
    assert "ZeroDivisionError: on purpose" in child.log()


def test_killed_server_leaves_readable_segments(tmp_path: Path) -> None:
    with server(tmp_path, "hello") as child:
        httpx.get(child.url, trust_env=False)
        # Segments are flushed every second.
        wait_for(lambda: list(child.segment("asgi").frames()), child.log)
        child.process.kill()
        assert child.exit_code() == -signal.SIGKILL
    assert len(child.asgi()) == 1
    assert len(child.steps()) > 0


def test_keeps_connections_beyond_hypercorns_1000_requests(tmp_path: Path) -> None:
    with server(tmp_path, "hello", event_loop_fd=None, syscall_fd=None, asgi_fd=None) as child:
        request = b"GET / HTTP/1.1\r\nhost: server\r\n\r\n"
        with socket.create_connection(("127.0.0.1", child.port)) as connection:
            connection.settimeout(DEADLINE_S)
            with connection.makefile("rb") as answers:
                for _ in range(1100):
                    connection.sendall(request)
                    head = b"".join(iter(answers.readline, b"\r\n"))
                    assert head.startswith(b"HTTP/1.1 200")
                    assert b"connection: close" not in head
                    assert answers.read(14) == b"Hello, world!\n"
        child.process.terminate()
        assert child.exit_code() == 0


@pytest.mark.parametrize(
    ("source", "name", "exit_code", "last"),
    [
        pytest.param("1 / 0\n", "service:app", 4, "ZeroDivisionError: division", id="import"),
        pytest.param("", "service:app", 2, 'has no attribute "app"', id="no attribute"),
        pytest.param("", "servce:app", 2, 'no module "servce"', id="no module"),
        pytest.param("", "helo", 2, 'did you mean "hello"?', id="no short name"),
        pytest.param(
            "async def app(scope, receive, send):\n"
            "    await receive()\n"
            "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n",
            "service:app",
            4,
            'the application "service:app" failed its startup: no database (ASGI lifespan)',
            id="lifespan fails",
        ),
        pytest.param(
            "async def app(scope, receive, send):\n"
            "    await receive()\n"
            "    said = 'RuntimeError: no running event loop'\n"
            "    await send({'type': 'lifespan.startup.failed', 'message': said})\n",
            "service:app",
            4,
            "(ASGI lifespan). This application needs asyncio, and the server hypercorn runs trio",
            id="lifespan needs asyncio",
        ),
        pytest.param(
            "import trio\nasync def app(scope, receive, send):\n    await trio.sleep_forever()\n",
            "service:app",
            4,
            "did not complete its startup in time (ASGI lifespan)",
            id="lifespan hangs",
        ),
    ],
)
def test_application_that_cannot_start(
    tmp_path: Path, source: str, name: str, exit_code: int, last: str
) -> None:
    write_app(tmp_path, source)
    with unready_server(tmp_path, name, startup_timeout_ns=100_000_000) as child:
        assert child.exit_code() == exit_code
    assert last in child.log().splitlines()[-1]
    assert "Running on" not in child.log()
    assert child.asgi() == []


def test_address_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with unready_server(tmp_path, "hello", port=port) as child:
            assert child.exit_code() == 4
    assert child.log() == f"cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_address_that_is_not_there(tmp_path: Path) -> None:
    # 192.0.2.0/24 is reserved for documentation (RFC 5737).
    with unready_server(tmp_path, "hello", hosts=["192.0.2.1"]) as child:
        assert child.exit_code() == 4
    assert "cannot listen on 192.0.2.1 port 0: Cannot assign requested address" in child.log()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one argument, ServerConfig as JSON (got 0 arguments)\n"),
        (["{}"], "expected ServerConfig as JSON (Object missing required field `node`)\n"),
        (["hello"], "expected ServerConfig as JSON (JSON is malformed"),
    ],
    ids=["none", "empty", "no JSON"],
)
def test_wrong_configuration(arguments: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "testbed.server", *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(message)


def test_standard_input_must_be_a_pipe(tmp_path: Path) -> None:
    config = (
        f'{{"node":"server","app":"hello","directory":"{tmp_path}","hosts":["127.0.0.1"],"port":0}}'
    )
    done = subprocess.run(
        [sys.executable, "-m", "testbed.server", config],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "standard input must be a pipe"


def test_lifespan_shutdown_that_hangs_ends_in_time(tmp_path: Path) -> None:
    source = """
import trio
async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await trio.sleep_forever()
"""
    with server(tmp_path, write_app(tmp_path, source)) as child:
        child.process.terminate()
        assert child.exit_code() == 4
    assert "did not complete its shutdown in time" in child.log().splitlines()[-1]


def test_stopped_while_the_application_starts(tmp_path: Path) -> None:
    source = """
import trio
async def app(scope, receive, send):
    print("starting", flush=True)
    await trio.sleep_forever()
"""
    with unready_server(tmp_path, write_app(tmp_path, source)) as child:
        stdout = tmp_path / "server.stdout"
        wait_for(lambda: "starting" in stdout.read_text(), child.log)
        child.process.terminate()
        assert child.exit_code() == 0, child.log()
    assert child.log() == ""
