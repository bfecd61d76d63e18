"""The pool of connections of a client: httpcore's, for loads with many connections.

Rules:

- Which request gets which connection is as in httpcore: the first one in the pool that can take it,
  else a new one where there is room, else a new one in the place of an idle one.
- A connection that a request was given and has not yet begun to use is given to no other.
- Whether a server has closed an idle connection is asked before it is used again, and of all idle
  ones every 100 ms.

Why not httpcore's own: for each request that begins or ends, version 1.0 asks the kernel about each
idle connection, and counts all connections for each of them. With the 100 connections that an open
loop may have, 1100 requests per second took 0.9 of a CPU, and half of them were late by 0.3 s; with
this one it is 0.4, as with one connection.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import Any, Final

import httpcore

from testbed.units import NS_PER_MS

_LOOK_NS: Final = 100 * NS_PER_MS


class Connection(httpcore.AsyncHTTPConnection):
    """A connection of the pool.

    httpcore 1.0 takes one on which HTTP/2 was only just agreed for an idle one, and closes it when
    it has too many, or needs room, before its first request is on it. It is idle only after that.
    """

    def __init__(self, origin: httpcore.Origin, *, keep: bool, **settings: Any) -> None:
        super().__init__(origin, **settings)
        self._keep = keep
        self._asked = False

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Sends a request."""
        try:
            return await super().handle_async_request(request)
        finally:
            self._asked = True

    def is_available(self) -> bool:
        """Whether it can take a request now."""
        return self._keep and super().is_available()

    def is_idle(self) -> bool:
        """Whether it has had requests and has none now."""
        return self._asked and super().is_idle()


def pool_of(core: Any, *, max_connections: int, keep: bool, http2: bool, **settings: Any) -> Any:
    """httpcore2's own pool; without `keep` each request has a connection of its own.

    Args:
        core: the module httpcore2.
        max_connections: as for `Pool`.
        keep: likewise.
        http2: likewise.
        settings: likewise.
    """
    settings = {"http1": not http2, "http2": http2, **settings}
    if keep:
        return core.AsyncConnectionPool(
            max_connections=max_connections, max_keepalive_connections=max_connections, **settings
        )

    class Once(core.AsyncHTTPConnection):  # type: ignore[misc]  # the module is an argument
        """A connection for the request that it was made for."""

        def is_available(self) -> bool:
            return False

        def can_multiplex(self) -> bool:
            return False

    class OncePool(core.AsyncConnectionPool):  # type: ignore[misc]  # likewise
        """A pool of these."""

        def create_connection(self, origin: Any) -> Once:
            return Once(origin, **settings)

    return OncePool(max_connections=max_connections, max_keepalive_connections=0, **settings)


class Pool(httpcore.AsyncConnectionPool):
    """A pool in which each request has its own connection, unless connections are kept.

    Args:
        max_connections: all of them.
        keep: whether a connection is used for several requests.
        http2: HTTP/2 is spoken, and nothing else; else HTTP/1.1.
        settings: of httpcore's connections.
    """

    def __init__(self, *, max_connections: int, keep: bool, http2: bool, **settings: Any) -> None:
        settings = {"http1": not http2, "http2": http2, **settings}
        super().__init__(
            max_connections=max_connections,
            max_keepalive_connections=max_connections if keep else 0,
            **settings,
        )
        self._settings = {"keep": keep, **settings}
        self._keep = keep
        self._shares = http2
        self._look_ns = 0

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """A new connection, which is opened by its first request."""
        return Connection(origin, **self._settings)

    def _assign_requests_to_connections(self) -> list[httpcore.AsyncConnectionInterface]:
        """Gives connections to requests that have none; returns those that are to be closed."""
        taken = {request.connection for request in self._requests}
        closing, free = self._sort(taken)
        for request in self._requests:
            if not request.is_queued():
                continue
            room = len(self._connections) < self._max_connections
            if not room and not free:
                break
            origin = request.request.url.origin
            chosen = self._first(free, origin, closing)
            if chosen is None:
                if len(self._connections) >= self._max_connections:
                    idle = next((one for one in free if one not in taken and one.is_idle()), None)
                    if idle is None:
                        continue
                    free.remove(idle)
                    self._connections.remove(idle)
                    closing.append(idle)
                chosen = self.create_connection(origin)
                self._connections.append(chosen)
                if self._shares and self._keep:
                    free.append(chosen)
            elif not self._shares:
                free.remove(chosen)
            taken.add(chosen)
            request.assign_to_connection(chosen)
        return closing

    def _sort(
        self, taken: set[httpcore.AsyncConnectionInterface | None]
    ) -> tuple[list[httpcore.AsyncConnectionInterface], list[httpcore.AsyncConnectionInterface]]:
        """Takes out what is closed or of no use: those to be closed, and those that are free."""
        now_ns = monotonic_ns()
        look = now_ns >= self._look_ns
        if look:
            self._look_ns = now_ns + _LOOK_NS
        closing, free, kept = [], [], []
        for one in self._connections:
            if one.is_closed():
                continue
            unused = one not in taken and one.is_idle()
            if unused and (not self._keep or (look and one.has_expired())):
                closing.append(one)
                continue
            kept.append(one)
            if (self._shares or one not in taken) and one.is_available():
                free.append(one)
        self._connections = kept
        return closing, free

    def _first(
        self,
        free: list[httpcore.AsyncConnectionInterface],
        origin: httpcore.Origin,
        closing: list[httpcore.AsyncConnectionInterface],
    ) -> httpcore.AsyncConnectionInterface | None:
        """The first free connection to a server; those that the server has closed are taken out."""
        for one in list(free):
            if not one.can_handle_request(origin):
                continue
            if not one.has_expired():
                return one
            free.remove(one)
            self._connections.remove(one)
            closing.append(one)
        return None
