"""Rule: what happens 23 times is seen 23 times: overflows of an accept queue, closed windows."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import Recording, run
from testbed.analysis.summary import Stop
from testbed.scenario import Load, Scenario

OVERFLOWS = """
import socket

BACKLOG = 4

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    inside = [socket.create_connection(listener.getsockname()) for _ in range(BACKLOG + 1)]
    for _ in range(23):
        beyond = socket.socket()
        beyond.setblocking(False)
        try:
            beyond.connect(listener.getsockname())
        except BlockingIOError:
            pass
        # Closed at once: the SYN was dropped, and would be sent again after a second.
        beyond.close()
    for one in (*inside, listener):
        one.close()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""

WINDOWS = """
import array
import fcntl
import socket
import termios
import threading
import time
from urllib.parse import parse_qs

import trio

PORT = 9000
ROUNDS = 23
ROUND_BYTES = 30_000  # more than the receiver's window, less than two of it
QUIET_S = 0.15  # nothing comes any more: many round trips on a link without delay

def unread(connection):
    count = array.array("i", [0])
    fcntl.ioctl(connection, termios.FIONREAD, count)
    return count[0]

def settled(connection):
    last, since = unread(connection), time.monotonic()
    while time.monotonic() - since < QUIET_S:
        now = unread(connection)
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.005)
    return last

def reader(listener):
    connection, _ = listener.accept()
    for _ in range(ROUNDS):
        while not ROUND_BYTES / 2 < settled(connection) < ROUND_BYTES:
            pass
        left = ROUND_BYTES
        while left:
            left -= len(connection.recv(left))
        connection.send(b"d")
    connection.recv(1)
    connection.close()

def sender(peer):
    connection = socket.create_connection((peer, PORT))
    for _ in range(ROUNDS):
        connection.sendall(bytes(ROUND_BYTES))
        connection.recv(1)
    connection.close()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        # Small: a window that takes no rounds of slow start to fill. The option turns tuning off.
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        listener.bind(("0.0.0.0", PORT))
        listener.listen()
        threading.Thread(target=reader, args=[listener], daemon=True).start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    peer = parse_qs(scope["query_string"].decode())["peer"][0]
    if scope["server"][0] != peer:
        await trio.to_thread.run_sync(sender, peer)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""


def run_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: str, topology: str, path: str
) -> Recording:
    (tmp_path / "service.py").write_text(app)
    monkeypatch.chdir(tmp_path)
    load = Load(requests=1, path=path, timeout="60s")
    scenario = Scenario(topology=topology, app="service:app", load=load, seed=7)
    return run(scenario, tmp_path / "run")


def stop(recording: Recording, layer: str, node: str, what: str) -> Stop:
    found = recording.summary.backpressure
    assert found is not None
    (one,) = (s for s in found.stops if (s.layer, s.node, s.what) == (layer, node, what))
    return one


def test_23_overflows_of_an_accept_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = run_app(tmp_path, monkeypatch, OVERFLOWS, "single_bottleneck", "/")
    loss = recording.summary.layers["socket"].loss
    assert loss is not None
    assert loss["accept_queue_overflows"] == 23
    assert loss["listen_dropped_packets"] == 23


def test_23_closed_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = run_app(tmp_path, monkeypatch, WINDOWS, "dumbbell", "/?peer=10.2.2.1")
    assert recording.summary.http.failed == 0
    closed = stop(recording, "tcp", "server2", "zero window")
    pressure = recording.summary.layers["tcp"].backpressure
    assert pressure is not None
    # The kernel of the receiver counts the same.
    assert (closed.waits, pressure["zero_windows_advertised"]) == (23, 23)
    assert closed.peak_amount == 1
    # Each lasts for as long as the reader waits before it reads, but for the time to fill.
    assert closed.longest_ns >= 100_000_000
    # Nobody else closed a window.
    assert stop(recording, "tcp", "server1", "zero window").waits == 0
