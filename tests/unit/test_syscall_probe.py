"""The syscall probe sees every call: 23 of what was caused 23 times, with its bytes and offsets."""

from __future__ import annotations

import os
import random
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from time import monotonic_ns

import polars as pl
import pytest
import trio
import trio.testing

from testbed.analysis.decode.syscalls import decode_syscalls
from testbed.probes.syscall import ObservedSocket, open_syscall_probe
from testbed.recording.segments import Segment
from testbed.server.observed_listeners import observed_listeners
from tests.support.observed_sockets import Observed, listening, observed, tcp_pair


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Observed]:
    made = observed(tmp_path / "syscall.seg")
    yield made
    made.probe.close()


def test_sees_each_of_23_eagains_and_the_waits_after_them(seen: Observed) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        sock = seen.probe.observe(near, "client")
        with far, sock:
            for number in range(23):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sock.recv, 65536)
                    await trio.testing.wait_all_tasks_blocked()
                    far.sendall(bytes(number + 1))

    trio.run(main)
    reads = [
        step
        for number in range(23)
        for step in (("recv", 0, "EAGAIN"), ("wait_readable", 0, None), ("recv", number + 1, None))
    ]
    assert seen.sequence() == [*reads, ("close", 0, None)]


def test_sees_each_of_23_short_writes(seen: Observed) -> None:
    asked = bytes(8 * 2**20)  # more than any send buffer takes (tcp_wmem: 4 MiB)
    taken: list[int] = []

    async def main() -> None:
        near, far = tcp_pair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        sock = seen.probe.observe(near, "client")
        with far, sock:
            for _ in range(23):
                taken.append(await sock.send(asked))
                await trio.to_thread.run_sync(read_exactly, far, taken[-1])

    trio.run(main)
    sends = seen.calls("send").filter(pl.col("error").is_null())
    assert sends["bytes"].to_list() == taken
    assert len(taken) == 23
    assert all(0 < size < len(asked) for size in taken)
    assert set(sends["asked_bytes"]) == {len(asked)}
    assert sends["offset_bytes"].to_list() == [0, *accumulate(taken)][:-1]


def read_exactly(sock: socket.socket, size: int) -> None:
    while size:
        size -= len(sock.recv(size))


def test_offsets_are_those_of_the_stream_in_both_directions_at_both_ends(seen: Observed) -> None:
    draw = random.Random(7)
    data = {side: draw.randbytes(300_000) for side in ("near", "far")}
    got = {"near": b"", "far": b""}

    async def talk(stream: trio.SocketStream, side: str, other: str) -> None:
        async def write() -> None:
            rest = memoryview(data[side])
            while rest:
                size = draw.randrange(1, 30_000)
                await stream.send_all(rest[:size])
                rest = rest[size:]
            await stream.send_eof()

        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while chunk := await stream.receive_some(draw.randrange(1, 20_000)):
                got[other] += chunk

    async def main() -> None:
        near, far = (trio.SocketStream(seen.probe.observe(end, "client")) for end in tcp_pair())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, near, "near", "far")
            nursery.start_soon(talk, far, "far", "near")

    trio.run(main)
    assert got == data
    for connection in (1, 2):
        for call in ("send", "recv"):
            moved = seen.calls(call).filter(
                (pl.col("connection") == connection) & (pl.col("bytes") > 0)
            )
            assert moved["bytes"].sum() == 300_000
            ends = list(accumulate(moved["bytes"]))
            assert moved["offset_bytes"].to_list() == [0, *ends][:-1]
    table = seen.calls()
    assert (table["started_ns"] <= table["ended_ns"]).all()


def test_times_are_around_the_call(seen: Observed) -> None:
    around: list[tuple[int, int]] = []

    async def main() -> None:
        near, far = tcp_pair()
        sock = seen.probe.observe(near, "client")
        with far, sock:
            for _ in range(23):
                before = monotonic_ns()
                await sock.send(b"x")
                around.append((before, monotonic_ns()))

    trio.run(main)
    times = seen.calls("send").select("started_ns", "ended_ns").rows()
    for (before, after), (started, ended) in zip(around, times, strict=True):
        assert before <= started <= ended <= after


def test_new_sockets_come_from_the_factory_and_know_both_addresses(seen: Observed) -> None:
    names: list[tuple[tuple[str, int], tuple[str, int]]] = []

    async def main() -> None:
        trio.socket.set_custom_socket_factory(seen.probe)
        with listening(backlog=64) as listener:
            for _ in range(23):
                stream = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
                assert isinstance(stream.socket, ObservedSocket)
                names.append((stream.socket.getsockname(), stream.socket.getpeername()))
                await stream.aclose()

    trio.run(main)
    table = seen.decoded().connections
    assert table["connection"].to_list() == list(range(1, 24))
    assert set(table["role"]) == {"client"}
    found = table.select("local_address", "local_port", "remote_address", "remote_port").rows()
    assert found == [(*local, *remote) for local, remote in names]
    assert seen.calls("connect").height == 23
    assert seen.calls("close").height == 23


def test_a_listener_and_what_it_accepts_are_the_servers(seen: Observed) -> None:
    async def main() -> None:
        trio.socket.set_custom_socket_factory(seen.probe)
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        address = listener.socket.getsockname()
        for _ in range(23):
            with socket.create_connection(address) as plain:
                async with await listener.accept() as stream:
                    plain.sendall(b"12345")
                    assert await stream.receive_some(10) == b"12345"
        await listener.aclose()

    trio.run(main)
    table = seen.decoded().connections
    assert table.height == 24
    assert set(table["role"]) == {"server"}
    assert table["remote_port"].is_null().to_list() == [True, *([False] * 23)]
    assert len(set(table["local_port"])) == 1
    calls = seen.calls("accept").filter(pl.col("error").is_null())
    assert set(calls["connection"]) == {1}
    assert calls.height == 23


def test_listeners_of_a_server_are_observed_once_and_others_never(seen: Observed) -> None:
    original = trio.socket.from_stdlib_socket

    async def main() -> None:
        with listening() as plain, listening() as other:
            with observed_listeners(seen.probe, [plain.fileno()]):
                first = trio.socket.from_stdlib_socket(plain)
                assert isinstance(first, ObservedSocket)
                assert not isinstance(trio.socket.from_stdlib_socket(other), ObservedSocket)
                assert not isinstance(trio.socket.from_stdlib_socket(plain), ObservedSocket)
            assert trio.socket.from_stdlib_socket is original

    trio.run(main)


def test_below_tls_bytes_are_those_of_the_wire(seen: Observed) -> None:
    # Without a certificate: an anonymous key exchange, as TLS 1.2 has it.
    def context(side: ssl._SSLMethod) -> ssl.SSLContext:
        made = ssl.SSLContext(side)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers("aNULL:@SECLEVEL=0")
        return made

    got = bytearray()

    async def main() -> None:
        trio.socket.set_custom_socket_factory(seen.probe)
        with listening() as plain:
            bound = trio.SocketListener(seen.probe.observe(plain, "server"))
            listener = trio.SSLListener(bound, context(ssl.PROTOCOL_TLS_SERVER))

            async def serve() -> None:
                async with await listener.accept() as stream:
                    async for chunk in stream:
                        got.extend(chunk)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                transport = await trio.open_tcp_stream(*plain.getsockname())
                async with trio.SSLStream(transport, context(ssl.PROTOCOL_TLS_CLIENT)) as stream:
                    await stream.send_all(bytes(50_000))

    trio.run(main)
    assert len(got) == 50_000
    sums = {
        (connection, call): size
        for connection, call, size in seen.calls("send", "recv")
        .group_by("connection", "call")
        .agg(pl.col("bytes").sum())
        .rows()
    }
    # Listener, client, accepted.
    assert sums[2, "send"] == sums[3, "recv"] > 50_000
    # The server's goodbye comes after the client's, and is not read.
    assert sums[3, "send"] >= sums[2, "recv"] > 0


FULL = """
import os, resource, sys, trio
from testbed.probes.syscall import open_syscall_probe

async def main(probe):
    trio.socket.set_custom_socket_factory(probe)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    stream = await trio.open_tcp_stream(*listener.socket.getsockname())
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1,) * 2)
    for _ in range(23):
        try:
            await listener.socket.accept()
        except OSError as error:
            print(error.errno)

probe = open_syscall_probe(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), process="s", node="s")
trio.run(main, probe)
probe.close()
"""


def test_23_accepts_without_a_descriptor_left_say_emfile(tmp_path: Path) -> None:
    path = tmp_path / "syscall.seg"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    calls = decode_syscalls(Segment(path)).calls.filter(pl.col("call") == "accept")
    assert calls["error"].to_list() == ["EMFILE"] * 23
    assert len(done.stdout.split()) == 23


def test_a_full_disk_is_no_error_of_a_socket() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):  # the header
        open_syscall_probe(descriptor, process="server", node="h2")
    os.close(descriptor)


def test_nothing_is_written_within_a_call(seen: Observed) -> None:
    size = seen.path.stat().st_size

    async def main() -> None:
        near, far = tcp_pair()
        sock = seen.probe.observe(near, "client")
        with far, sock:
            for _ in range(2_000):  # more than a frame
                await sock.send(b"x")
                far.recv(10)

    trio.run(main)
    assert seen.path.stat().st_size == size
    assert seen.calls("send").height == 2_000
