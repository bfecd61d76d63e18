"""The client's pool: which request gets which connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import httpcore
import pytest
import trio
import trio.testing

from testbed.probes.http_pool import Connection, Pool

ANSWER = b"HTTP/1.1 200 \r\ncontent-length: 1\r\n\r\nx"
Serve = Callable[[trio.SocketStream], Awaitable[None]]


async def keeping(stream: trio.SocketStream) -> None:
    """Answers every request."""
    async for _ in stream:
        await stream.send_all(ANSWER)


async def closing(stream: trio.SocketStream) -> None:
    """Answers one request and closes, without having said so."""
    await stream.receive_some()
    await stream.send_all(ANSWER)
    await stream.aclose()


class Servers:
    """Servers on loopback, and what they saw."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.accepted = 0

    async def start(self, serve: Serve) -> str:
        """A server's URL."""

        async def counted(stream: trio.SocketStream) -> None:
            self.accepted += 1
            await serve(stream)

        listeners: list[trio.SocketListener] = await self._nursery.start(
            partial(trio.serve_tcp, counted, 0, host="127.0.0.1")
        )
        return f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"


def pool(most: int = 10, *, keep: bool = True) -> Pool:
    return Pool(
        max_connections=most,
        keep=keep,
        http2=False,
        network_backend=httpcore.TrioBackend(),
    )


async def ask(connections: httpcore.AsyncConnectionPool, url: str) -> None:
    response = await connections.request("GET", url)
    assert response.status == 200


@pytest.mark.parametrize(("keep", "accepted"), [(True, 1), (False, 23)])
def test_connections_are_kept_or_not(keep: bool, accepted: int) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery, pool(keep=keep) as connections:
            servers = Servers(nursery)
            url = await servers.start(keeping)
            for _ in range(23):
                await ask(connections, url)
            assert servers.accepted == accepted
            assert len(connections.connections) == (1 if keep else 0)
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery, pool() as connections:
            servers = Servers(nursery)
            url = await servers.start(closing)
            for _ in range(23):
                await ask(connections, url)
                await trio.testing.wait_all_tasks_blocked()
            assert servers.accepted == 23
            assert len(connections.connections) <= 2
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_an_idle_connection_makes_room_for_one_to_another_server() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery, pool(1) as connections:
            servers = Servers(nursery)
            first, second = await servers.start(keeping), await servers.start(keeping)
            for url in (first, first, second, second, first):
                await ask(connections, url)
                assert len(connections.connections) == 1
            assert servers.accepted == 3
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_requests_wait_for_a_connection_each_in_its_turn() -> None:
    done = []

    async def main() -> None:
        async with trio.open_nursery() as nursery, pool(2) as connections:
            servers = Servers(nursery)
            url = await servers.start(keeping)

            async def one(number: int) -> None:
                await ask(connections, url)
                done.append(number)

            async with trio.open_nursery() as asking:
                for number in range(23):
                    asking.start_soon(one, number)
            assert servers.accepted == len(connections.connections) == 2
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert sorted(done) == list(range(23))


def test_the_kernel_is_not_asked_about_each_idle_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """50 connections that are idle: one request after the other asks about the one it takes."""
    asked = 0
    has_expired = Connection.has_expired

    def counted(self: Connection) -> bool:
        nonlocal asked
        asked += 1
        return has_expired(self)

    monkeypatch.setattr(Connection, "has_expired", counted)
    monkeypatch.setattr("testbed.probes.http_pool._LOOK_NS", 10**18)

    async def main() -> None:
        nonlocal asked
        async with trio.open_nursery() as nursery, pool(50) as connections:
            servers = Servers(nursery)
            url = await servers.start(keeping)
            async with trio.open_nursery() as asking:
                for _ in range(50):
                    asking.start_soon(ask, connections, url)
            idle = len(connections.connections)
            asked = 0
            for _ in range(23):
                await ask(connections, url)
            assert asked == 23
            assert idle == len(connections.connections) > 20
            nursery.cancel_scope.cancel()

    trio.run(main)
