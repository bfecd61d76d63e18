"""Server and load processes of the tests: real ones on loopback, segments in a folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from testbed.analysis.decode.syscalls import DecodedSyscalls, decode_syscalls
from testbed.events.asgi import AsgiExchange
from testbed.events.http import HttpExchange
from testbed.load.config import LoadConfig
from testbed.recording.segments import Segment
from testbed.scenario import Load
from testbed.server.config import ServerConfig

DEADLINE_S = 60.0
"""For anything that is waited for: far beyond what it takes, on a machine that is busy."""
CHECKOUT = Path(__file__).resolve().parents[2]

_Event = TypeVar("_Event", HttpExchange, AsgiExchange)
_T = TypeVar("_T")


def wait_for(condition: Callable[[], _T | None], what: Callable[[], str]) -> _T:
    """What `condition` gives once it is true; `what` tells the last state when it never is."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError(f"waited {DEADLINE_S} s in vain; last state: {what()}")


@dataclass
class Child:
    """A process with its log and its segments."""

    process: subprocess.Popen[bytes]
    folder: Path
    name: str

    def log(self) -> str:
        """Its standard error so far."""
        return (self.folder / f"{self.name}.stderr").read_text()

    def exit_code(self) -> int:
        """Its exit code, waited for."""
        return self.process.wait(DEADLINE_S)

    def end_stdin(self) -> None:
        """Ends its lifeline."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def segment(self, source: str) -> Segment:
        """A segment that it wrote."""
        return Segment(self.folder / f"{source}.{self.name}.seg")

    def exchanges(self, source: str, kind: type[_Event]) -> list[_Event]:
        """The frames of a segment, decoded."""
        segment = self.segment(source)
        found = [msgspec.json.decode(frame.payload, type=kind) for frame in segment.frames()]
        assert segment.cut_bytes == 0
        return found

    def http(self) -> list[HttpExchange]:
        """The exchanges in the http segment, by number."""
        return sorted(self.exchanges("http", HttpExchange), key=lambda found: found.number)

    def asgi(self) -> list[AsgiExchange]:
        """The exchanges in the asgi segment."""
        return self.exchanges("asgi", AsgiExchange)

    def system_calls(self) -> DecodedSyscalls:
        """Sockets and calls in the syscall segment."""
        found = decode_syscalls(self.segment("syscall"))
        assert found.damage == []
        return found

    def steps(self) -> npt.NDArray[np.void]:
        """The steps in the event loop segment."""
        records = self.segment("event_loop").records()
        steps: npt.NDArray[np.void] = records[records["kind"] == 0]
        return steps


@dataclass
class Server(Child):
    """A server that listens."""

    scheme: str = "http"
    port: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


@dataclass
class Client(Child):
    """A load process that is ready, and waits for `go`."""

    progress: int = -1

    def go(self) -> None:
        """Tells it to begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def lines(self) -> Iterator[dict[str, Any]]:
        """Its lines of progress, up to its end."""
        rest = b""
        while chunk := os.read(self.progress, 4096):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield msgspec.json.decode(line)
        assert rest == b""

    def last_line(self) -> dict[str, Any]:
        """Its last line of progress."""
        return list(self.lines())[-1]


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)


def _start(
    module: str, config: msgspec.Struct, folder: Path, name: str, descriptors: list[int]
) -> subprocess.Popen[bytes]:
    with (
        (folder / f"{name}.stderr").open("wb") as stderr,
        (folder / f"{name}.stdout").open("wb") as stdout,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", module, msgspec.json.encode(config).decode()],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            pass_fds=descriptors,
            cwd=CHECKOUT,
        )
    for descriptor in descriptors:
        os.close(descriptor)
    return process


@contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()


@contextmanager
def unready_server(folder: Path, app: str, **options: Any) -> Iterator[Child]:
    """A server process, whatever becomes of it; modules are imported from `folder`."""
    probes = {
        f"{source}_fd": _open(folder / f"{source}.server.seg")
        for source in ("event_loop", "syscall", "asgi")
    }
    settings = {"node": "server", "hosts": ["127.0.0.1"], "port": 0, **probes, **options}
    config = ServerConfig(app=app, directory=str(folder), **settings)
    handed = [config.tls_fd, config.ready_fd, *config.listen_fds]
    descriptors = [*probes.values(), *(one for one in handed if one is not None)]
    process = _start("testbed.server", config, folder, "server", descriptors)
    with _ending(process):
        yield Child(process, folder, "server")


@contextmanager
def server(folder: Path, app: str = "hello", **options: Any) -> Iterator[Server]:
    """A server that listens on a free port of 127.0.0.1."""
    with unready_server(folder, app, **options) as child:

        def running() -> re.Match[str] | None:
            return re.search(r"Running on (https?)://127\.0\.0\.1:(\d+)", child.log())

        scheme, port = wait_for(running, child.log).groups()
        yield Server(child.process, folder, "server", scheme, int(port))


@contextmanager
def client(
    folder: Path, load: Load, urls: list[str], *, name: str = "client", **options: Any
) -> Iterator[Client]:
    """A load process that is ready."""
    http_fd = _open(folder / f"http.{name}.seg")
    event_loop_fd = _open(folder / f"event_loop.{name}.seg")
    syscall_fd = _open(folder / f"syscall.{name}.seg")
    progress, progress_fd = os.pipe()
    config = LoadConfig(
        name=name,
        node=name,
        base_urls=urls,
        load=load,
        seed=7,
        http_fd=http_fd,
        event_loop_fd=event_loop_fd,
        syscall_fd=syscall_fd,
        progress_fd=progress_fd,
        **options,
    )
    descriptors = [http_fd, event_loop_fd, syscall_fd, progress_fd]
    process = _start("testbed.load", config, folder, name, descriptors)
    with _ending(process), os.fdopen(progress, "rb", buffering=0):
        child = Client(process, folder, name, progress=progress)
        assert os.read(progress, 4096) == b'{"ready":true}\n', child.log()
        yield child


def run_load(folder: Path, load: Load, urls: list[str], **options: Any) -> Client:
    """A load from beginning to end."""
    with client(folder, load, urls, **options) as child:
        child.go()
        last = child.last_line()
        assert child.exit_code() == 0, child.log()
        assert last["ended"] == "done"
        assert last["started"] == last["completed"] + last["failed"]
    return child


def write_app(folder: Path, body: str, name: str = "service") -> str:
    """A module with an application in it; returns its `module:attribute`."""
    (folder / f"{name}.py").write_text(body)
    return f"{name}:app"
