"""An ASGI application under a server of blocking calls, as a WSGI application.

So that one application, unchanged, can be put under every server model, and what differs between
two runs is the server alone. A twin of each application, written for WSGI, would be another
application.

Rules:

- The application is a coroutine, and its thread drives it to its end before it does anything else.
  ``await receive()`` is a blocking read, ``await send()`` a blocking write, ``await sleep()`` a
  sleep of the thread: nothing else of the process runs meanwhile, but for other threads.
- Bodies are streamed both ways: one receive() gives what one read gave, one send() writes at once.
- receive() after the request's end waits until the answer is complete, and then says
  http.disconnect. A client that leaves earlier is noticed by the next send(), which raises OSError
  (ASGI HTTP spec 2.4, "Disconnected Client").
- Each thread has an event loop that can do nothing but call back and sleep (`SleepingLoop`). It has
  no descriptors: a server that is counted by its descriptors has one for each connection, as it
  would with an application that was written for it. An application that opens connections by
  asyncio (a database, say) ends with NotImplementedError.
- The lifespan runs in the main thread, begun before the server listens and ended after it has
  stopped. In a forked child its state is a copy.
- Websockets there are none: PEP 3333 has no place for them.

Prior art: asgiref's WsgiToAsgi and a2wsgi's ASGIMiddleware; the latter hands every request to one
event loop in a thread, which is what a blocking server is not.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import base_events
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, Final

from testbed.probes.asgi import Application, Message, Scope
from testbed.server.config import ServerConfig
from testbed.server.lifespan import lifespan_error
from testbed.units import NS_PER_S

_CHUNK_BYTES: Final = 65536
_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}
_LOOK_S: Final = 0.1


class AsgiToWsgi:
    """A WSGI application (PEP 3333) that runs an ASGI application to its end in every call."""

    def __init__(self, application: Application, config: ServerConfig) -> None:
        self._application = application
        self._config = config
        self._own = threading.local()
        self._state: dict[str, Any] = {}
        self._lifespan = _Lifespan(application, self._state)

    def start(self, told_to_stop: Callable[[], bool]) -> bool:
        """Runs the lifespan's startup; False: told to stop before it had ended.

        Raises:
            ProcessError: it failed, or did not end in time.
        """
        limit_ns = self._config.startup_timeout_ns
        ended = self._loop().run_until_complete(
            self._lifespan.begin(limit_ns / NS_PER_S, told_to_stop)
        )
        if ended != "started":
            self._loop().run_until_complete(self._lifespan.cancel())
        if ended == "failed":
            raise lifespan_error(self._config, f"failed its startup: {self._lifespan.reason}")
        if ended == "late":
            raise lifespan_error(self._config, "did not complete its startup in time")
        return ended == "started"

    def stop(self) -> None:
        """Runs the lifespan's shutdown.

        Raises:
            ProcessError: it failed, or did not end in time.
        """
        limit_s = self._config.graceful_timeout_ns / NS_PER_S
        ended = self._loop().run_until_complete(self._lifespan.end(limit_s))
        self._loop().run_until_complete(self._lifespan.cancel())
        if ended == "failed":
            raise lifespan_error(self._config, f"failed its shutdown: {self._lifespan.reason}")
        if ended == "late":
            raise lifespan_error(self._config, "did not complete its shutdown in time")

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Runs the application for one request; its body is written meanwhile."""
        call = _Call(environ, start_response)
        scope = {**scope_of(environ), "state": dict(self._state)}
        self._loop().run_until_complete(self._application(scope, call.receive, call.send))
        if not call.started:
            raise RuntimeError("the application ended without an answer")
        return []

    def _loop(self) -> SleepingLoop:
        loop: SleepingLoop | None = getattr(self._own, "loop", None)
        if loop is None:
            loop = self._own.loop = SleepingLoop()
        return loop


class _Call:
    """receive() and send() of one request.

    Attributes:
        started: the answer has begun.
    """

    def __init__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> None:
        self._body = environ["wsgi.input"]
        self._start_response = start_response
        self._unread = int(environ.get("CONTENT_LENGTH") or 0)
        self._asked = False
        self._complete = asyncio.Event()
        self._write: Callable[[bytes], object] | None = None
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self.started = False

    async def receive(self) -> Message:
        if self._asked and not self._unread:
            await self._complete.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        data = self._body.read1(min(self._unread, _CHUNK_BYTES)) if self._unread else b""
        if self._unread and not data:  # it ended early
            self._unread = 0
            self._complete.set()
            return {"type": "http.disconnect"}
        self._unread -= len(data)
        return {"type": "http.request", "body": data, "more_body": self._unread > 0}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._head is not None:
                raise RuntimeError("the answer has begun already")
            status = message["status"]
            phrase = HTTPStatus(status).phrase if status in _STATUSES else "Unknown"
            headers = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message.get("headers", ())
                if name.lower() not in _HOP_BY_HOP
            ]
            self._head = (f"{status} {phrase}", headers)
        elif message["type"] == "http.response.body":
            self._send_body(message)
        else:
            raise RuntimeError(f"unexpected message {message['type']}")

    def _send_body(self, message: Message) -> None:
        if self._head is None:
            raise RuntimeError("a body before the answer has begun")
        if self._complete.is_set():
            raise RuntimeError("a body after the answer has ended")
        if self._write is None:
            # Only with the body: an application may change its mind about its head until then.
            self._write = self._start_response(*self._head)
            self.started = True
        self._write(message.get("body", b""))
        if not message.get("more_body", False):
            self._complete.set()


_STATUSES: Final = {status.value for status in HTTPStatus}
_HOP_BY_HOP: Final = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailers",
    b"transfer-encoding", b"upgrade",
}  # fmt: skip
"""What a WSGI application may not send (PEP 3333, "Other HTTP Features")."""


def scope_of(environ: dict[str, Any]) -> Scope:
    """The ASGI scope of a WSGI environ (asgiref specs, "WSGI Compatibility", backwards)."""
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    headers += [
        (name.replace("_", "-").lower().encode(), environ[name].encode("latin-1"))
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        if environ.get(name)
    ]
    path = environ.get("PATH_INFO", "")
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path.encode("latin-1").decode(errors="replace"),
        "raw_path": path.encode("latin-1"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": environ.get("SCRIPT_NAME", ""),
        "headers": headers,
        "client": (environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"])),
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
    }


class _Lifespan:
    """The application's lifespan.

    Attributes:
        reason: what the application said when it failed.
    """

    def __init__(self, application: Application, state: dict[str, Any]) -> None:
        self._application = application
        self._state = state
        self._task: asyncio.Future[None] | None = None
        self._said: list[str] = []
        self.reason = ""

    async def begin(self, limit_s: float, told_to_stop: Callable[[], bool]) -> str:
        """Started, failed, late, or stopped."""
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._asked.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": _ASGI, "state": self._state}
        self._task = asyncio.ensure_future(self._application(scope, self._asked.get, self._send))
        deadline = asyncio.get_running_loop().time() + limit_s
        while not await self._wait(min(_LOOK_S, limit_s)):
            if told_to_stop():
                return "stopped"
            if asyncio.get_running_loop().time() >= deadline:
                return "late"
        return self._outcome("startup", "started")

    async def end(self, limit_s: float) -> str:
        """Ended, failed, or late."""
        if self._task is None or self._task.done():
            return "ended"
        self._answered.clear()
        self._said.clear()
        self._asked.put_nowait({"type": "lifespan.shutdown"})
        if not await self._wait(limit_s):
            return "late"
        return self._outcome("shutdown", "ended")

    async def cancel(self) -> None:
        """Ends it, wherever it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.exception()  # it was heard of already, or is of no use any more

    async def _wait(self, seconds: float) -> bool:
        """Whether the application has answered, or has ended, within that time."""
        assert self._task is not None
        answered = asyncio.ensure_future(self._answered.wait())
        waiting: list[asyncio.Future[Any]] = [self._task, answered]
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()
        return bool(done)

    def _outcome(self, stage: str, good: str) -> str:
        if f"lifespan.{stage}.failed" in self._said:
            return "failed"
        assert self._task is not None
        if self._task.done():
            self._task.exception()  # it does without a lifespan, and said so by raising
        return good

    async def _send(self, message: Message) -> None:
        self._said.append(message["type"])
        self.reason = message.get("message", "")
        self._answered.set()


class _Sleeper:
    """Stands where a loop has its selector: there is nothing to wait for but time and threads."""

    def __init__(self) -> None:
        self.woken = threading.Event()

    def select(self, timeout: float | None) -> list[Any]:
        self.woken.wait(timeout)
        self.woken.clear()
        return []


class SleepingLoop(base_events.BaseEventLoop):
    """An event loop without a selector and without descriptors: it calls back, and it sleeps.

    The same few private methods as ``asyncio.SelectorEventLoop`` has in their place (CPython 3.11
    to 3.14, Lib/asyncio/base_events.py).
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Sleeper()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Called by other threads, after they have put a callback into the queue."""
        self._selector.woken.set()
