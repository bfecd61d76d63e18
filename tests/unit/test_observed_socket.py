"""An observed socket behaves as trio's own does: the same results, errors, checkpoints and
cancellation. Each case runs on both.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from testbed.probes.syscall import ObservedSocket
from tests.support.observed_sockets import Observed, Wrap, listening, observed, tcp_pair


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Observed]:
    made = observed(tmp_path / "syscall.seg")
    yield made
    made.probe.close()


@pytest.fixture(params=["trio", "observed"])
def wrap(request: pytest.FixtureRequest, seen: Observed) -> Wrap:
    if request.param == "trio":
        return trio.socket.from_stdlib_socket
    return lambda sock: seen.probe.observe(sock, "client")


def fill(sock: socket.socket) -> None:
    """Leaves no room in a send buffer."""
    sock.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            sock.send(bytes(65536))


def hang_up(sock: socket.socket) -> None:
    """Closes with a reset (socket(7): SO_LINGER with 0)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def in_a_pair(wrap: Wrap, case: Callable[[Any, socket.socket], Any]) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        sock = wrap(near)
        with far, sock:
            await case(sock, far)

    trio.run(main)


def test_a_cancelled_task_makes_no_call(wrap: Wrap) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        far.sendall(b"still there")
        with trio.CancelScope() as scope:
            scope.cancel()
            await sock.recv(100)
        assert scope.cancelled_caught
        assert await sock.recv(100) == b"still there"

    in_a_pair(wrap, case)


def test_what_was_done_is_not_lost_to_a_cancellation(wrap: Wrap) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        far.sendall(b"data")
        with trio.CancelScope() as scope:

            def cancel() -> None:
                scope.cancel()

            # Runs at the checkpoint that follows the call, which is shielded.
            trio.lowlevel.current_trio_token().run_sync_soon(cancel)
            assert await sock.recv(100) == b"data"
        assert not scope.cancelled_caught

    in_a_pair(wrap, case)


@pytest.mark.parametrize("direction", ["recv", "send"])
def test_a_wait_can_be_cancelled(wrap: Wrap, direction: str) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        if direction == "send":
            fill(sock._sock)
        call = sock.recv(100) if direction == "recv" else sock.send(b"more")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: call)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        if direction == "recv":
            far.sendall(b"later")
            assert await sock.recv(100) == b"later"

    in_a_pair(wrap, case)


def test_a_cancelled_wait_is_recorded(seen: Observed) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        for _ in range(23):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sock.recv, 100)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()

    in_a_pair(lambda sock: seen.probe.observe(sock, "client"), case)
    waits = [step for step in seen.sequence() if step[0] == "wait_readable"]
    assert waits == [("wait_readable", 0, "ECANCELED")] * 23


@pytest.mark.parametrize("call", ["send", "recv", "recv_into", "sendmsg", "recvmsg", "recvfrom"])
def test_a_call_that_succeeds_at_once_gives_the_loop_back(wrap: Wrap, call: str) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        far.sendall(b"data")
        arguments = {
            "send": (b"x",),
            "sendmsg": ([b"x", b"y"],),
            "recv_into": (bytearray(10),),
        }.get(call, (10,))
        with trio.testing.assert_checkpoints():
            await getattr(sock, call)(*arguments)

    in_a_pair(wrap, case)


def test_closed_while_it_waits(wrap: Wrap) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(close_when_blocked, sock)
            with pytest.raises(trio.ClosedResourceError):
                await sock.recv(100)

    in_a_pair(wrap, case)


async def close_when_blocked(sock: Any) -> None:
    await trio.testing.wait_all_tasks_blocked()
    sock.close()


def test_closed_before(wrap: Wrap) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        stream = trio.SocketStream(sock)
        await stream.aclose()
        assert sock.fileno() == -1
        sock.close()  # again: nothing happens
        with pytest.raises(OSError, match="Bad file descriptor"):
            await sock.recv(100)
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some(100)
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")

    in_a_pair(wrap, case)


def test_two_senders_at_once_are_refused(wrap: Wrap) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        stream = trio.SocketStream(sock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(16 * 2**20))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.send_all(b"x")
            nursery.cancel_scope.cancel()

    in_a_pair(wrap, case)


def test_two_readers_at_once_are_refused(wrap: Wrap) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sock.recv, 1)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await sock.recv(1)
            nursery.cancel_scope.cancel()

    in_a_pair(wrap, case)


def test_a_reset_is_an_error_of_the_call(wrap: Wrap) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        hang_up(far)
        with pytest.raises(ConnectionResetError):
            await sock.recv(100)
        with pytest.raises(BrokenPipeError):
            await sock.send(b"x")

    in_a_pair(wrap, case)


def test_a_reset_is_recorded_by_name(seen: Observed) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        hang_up(far)
        with pytest.raises(ConnectionResetError):
            await sock.recv(100)
        with pytest.raises(BrokenPipeError):
            await sock.send(b"x")

    in_a_pair(lambda sock: seen.probe.observe(sock, "client"), case)
    assert seen.sequence() == [
        ("recv", 0, "ECONNRESET"),
        ("send", 0, "EPIPE"),
        ("close", 0, None),
    ]


def test_nobody_listens(wrap: Wrap) -> None:
    with listening() as plain:
        address = plain.getsockname()

    async def main() -> None:
        with wrap(socket.socket()) as sock:
            with pytest.raises(OSError, match="refused") as caught:
                await sock.connect(address)
            assert caught.value.errno == errno.ECONNREFUSED

    trio.run(main)


def test_a_refused_connection_has_its_addresses_and_its_error(seen: Observed) -> None:
    with listening() as plain:
        address = plain.getsockname()

    async def main() -> None:
        for _ in range(23):
            with seen.probe.socket() as sock, suppress(ConnectionRefusedError):
                await sock.connect(address)

    trio.run(main)
    failed = [error for call, _, error in seen.sequence() if call.startswith("connect")]
    assert failed.count("ECONNREFUSED") == 23
    found = seen.decoded().connections
    assert found.select("remote_address", "remote_port").rows() == [address] * 23
    assert found["local_port"].null_count() == 0


def test_a_cancelled_connect_closes_the_socket(wrap: Wrap) -> None:
    async def main() -> None:
        # A queue for one: a second handshake gets no answer (listen(2), tcp(7)).
        with listening(backlog=0) as plain, socket.create_connection(plain.getsockname()):
            sock = wrap(socket.socket())
            with trio.move_on_after(0.2) as scope:
                await sock.connect(plain.getsockname())
            assert scope.cancelled_caught
            assert sock.fileno() == -1

    trio.run(main)


def test_a_name_is_looked_up(wrap: Wrap) -> None:
    async def main() -> None:
        with listening() as plain, wrap(socket.socket()) as sock:
            await sock.connect(("localhost", plain.getsockname()[1]))
            assert sock.getpeername() == plain.getsockname()

    trio.run(main)


@pytest.mark.parametrize("address", ["nonsense", ("127.0.0.1",), ("127.0.0.1", 1, 2)], ids=str)
def test_a_wrong_address_is_refused(wrap: Wrap, address: Any) -> None:
    async def main() -> None:
        with wrap(socket.socket()) as sock, pytest.raises(ValueError, match="address should be"):
            await sock.connect(address)

    trio.run(main)


def test_datagrams_too(wrap: Wrap) -> None:
    async def main() -> None:
        with (
            wrap(socket.socket(type=socket.SOCK_DGRAM)) as here,
            wrap(socket.socket(type=socket.SOCK_DGRAM)) as there,
        ):
            await there.bind(("127.0.0.1", 0))
            assert await here.sendto(b"12345", there.getsockname()) == 5
            assert await here.sendto(b"12345", 0, ("localhost", there.getsockname()[1])) == 5
            buffer = bytearray(10)
            count, address = await there.recvfrom_into(buffer)
            assert (count, address[0]) == (5, "127.0.0.1")
            assert (await there.recvmsg(10))[0] == b"12345"
            await here.sendmsg([b"1", b"2"], [], 0, there.getsockname())
            assert (await there.recvmsg_into([buffer]))[0] == 2

    trio.run(main)


def test_a_peek_moves_nothing(seen: Observed) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        far.sendall(b"12345")
        assert await sock.recv(10, socket.MSG_PEEK) == b"12345"
        assert await sock.recv(10) == b"12345"

    in_a_pair(lambda sock: seen.probe.observe(sock, "client"), case)
    assert seen.calls("recv").select("bytes", "offset_bytes").rows() == [(0, None), (5, 0)]


def test_the_rest_is_trios_own(wrap: Wrap) -> None:
    async def case(sock: Any, far: socket.socket) -> None:
        assert isinstance(sock, trio.socket.SocketType)
        assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert sock.proto in (0, socket.IPPROTO_TCP)
        assert sock.getpeername() == far.getsockname()
        assert repr(sock).startswith("<trio.socket.socket fd=")
        assert not sock.get_inheritable()
        assert not sock.is_readable()
        await sock.wait_writable()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        shut = [sock.did_shutdown_SHUT_WR]
        sock.shutdown(socket.SHUT_WR)
        shut.append(sock.did_shutdown_SHUT_WR)
        assert shut == [False, True]
        assert far.recv(1) == b""

    in_a_pair(wrap, case)


def test_nothing_of_trios_socket_is_left_out() -> None:
    """A method that a newer trio adds would raise NotImplementedError."""
    left = {
        name
        for name, value in vars(trio.socket.SocketType).items()
        if not name.startswith("__") and getattr(ObservedSocket, name) is value
    }
    assert left == set()
