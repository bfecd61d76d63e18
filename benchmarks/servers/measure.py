"""One server model under slow clients: what the clients saw, and what the server took for it.

Rules:

- The clients are slow, and no buffer hides it: each reads an answer of 24 kB at 64 kbit/s, for 3 s,
  and the buffers at both ends hold about a quarter of it. Whoever writes to such a client has to
  wait for it.
- All clients begin at once, and each makes one request on a connection of its own.
- Processes and threads are counted from outside, in /proc, ten times a second: those of the server
  that descend from this process.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from testbed import Link, Load, Recording, Scenario, run
from testbed.scenario.nodes import NodeSettings

SIZE: Final = "24kB"
READ_RATE: Final = "64kbit"
TIMEOUT: Final = "10s"
_LOOK_S: Final = 0.1
_SERVER: Final = b"testbed.server"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One server model."""

    server: str
    completed: int
    failures: dict[str, int]
    """By kind: ``ReadTimeout``."""
    latency_ns_p50: int | None
    """Of the requests that were completed; None: there was none."""
    latency_ns_p99: int | None
    served_at_once: int
    """Most requests that were in the application at the same time."""
    accept_queue_overflows: int
    """Handshakes that the full accept queue dropped."""
    processes: int
    """Of the server, most at once."""
    threads: int
    """Of all these processes, most at once."""
    verdict: str


def scenario(server: str, users: int, seed: int) -> Scenario:
    """`users` slow clients against a server model."""
    return Scenario(
        topology="single_bottleneck",
        app="stream",
        server=server,
        send_buffer="4kB",
        nodes={"client": NodeSettings(sysctls={"net.ipv4.tcp_rmem": "4096 8192 8192"})},
        link=Link(capacity="100mbit", queue="500p", delay="2ms"),
        load=Load(
            users=users,
            requests=users,
            path=f"/?size={SIZE}&chunk=4kB",
            new_connections=True,
            read_rate=READ_RATE,
            timeout=TIMEOUT,
        ),
        seed=seed,
    )


def measured(server: str, users: int, seed: int, folder: Path) -> Row:
    """Runs one server model into `folder`.

    Raises:
        TestbedError: the run failed.
    """
    with _Counting() as counting:
        recording = run(scenario(server, users, seed), folder)
    return row_of(server, recording, counting.processes, counting.threads)


def row_of(server: str, recording: Recording, processes: int, threads: int) -> Row:
    """The row of a recording."""
    http, layers = recording.http, recording.summary.layers
    latency = http.latency_ns
    asgi, socket = layers["asgi"].backpressure or {}, layers["socket"].loss or {}
    return Row(
        server=server,
        completed=http.completed or 0,
        failures=http.failures,
        latency_ns_p50=latency.p50 if latency and http.completed else None,
        latency_ns_p99=latency.p99 if latency and http.completed else None,
        served_at_once=asgi["peak_in_flight_requests"],
        accept_queue_overflows=socket["accept_queue_overflows"],
        processes=processes,
        threads=threads,
        verdict=recording.verdict.status,
    )


class _Counting:
    """Counts, in a thread, while it is entered.

    Attributes:
        processes: most at once.
        threads: most at once.
    """

    def __init__(self) -> None:
        self.processes = self.threads = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def __enter__(self) -> _Counting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._ended.wait(_LOOK_S):
            found = server_threads(os.getpid())
            self.processes = max(self.processes, len(found))
            self.threads = max(self.threads, sum(found))


def server_threads(ancestor: int) -> list[int]:
    """The number of threads of each server process that descends from `ancestor`."""
    parents: dict[int, int] = {}
    threads: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):  # it has ended
            # After the name, which may have blanks and brackets: state, parent, ... (proc(5)).
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            if _SERVER in (folder / "cmdline").read_bytes().split(b"\0"):
                threads[int(folder.name)] = int(fields[17])
    return [count for one, count in threads.items() if _descends(one, ancestor, parents)]


def _descends(process: int, ancestor: int, parents: dict[int, int]) -> bool:
    while process in parents:
        if process == ancestor:
            return True
        process = parents[process]
    return False
