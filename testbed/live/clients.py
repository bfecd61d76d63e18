"""Clients of a run: the load, in each client host."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from testbed.errors import Interrupted, ProcessError
from testbed.live.applications import READY_NS, command, given, segments
from testbed.live.config import LiveConfig
from testbed.live.orders import Orders
from testbed.live.processes import ManagedProcess, Processes
from testbed.live.servers import authority_of
from testbed.live.waiting import readable
from testbed.load.config import LoadConfig
from testbed.load.share import Share
from testbed.network.plan import NetworkPlan
from testbed.recording.layout import Layout
from testbed.recording.progress import LoadProgress, OnProgress
from testbed.scenario import Load
from testbed.scenario.tables import read_send_times
from testbed.units import NS_PER_S

if TYPE_CHECKING:
    from testbed.live.certificates import Certificates

_TELL_EVERY_S: Final = 0.1


def start_clients(
    processes: Processes,
    layout: Layout,
    plan: NetworkPlan,
    config: LiveConfig,
    authority: Certificates | None = None,
) -> Clients:
    """Starts the load processes of each client host; they wait for `Clients.go`.

    With as many clients as servers each client has its own server, otherwise every client asks all
    in turn.
    """
    scheme = "http" if authority is None else "https"
    pipes: dict[int, ManagedProcess] = {}
    load = config.scenario.load
    for node in plan.with_role("client"):
        for place in range(load.processes):
            name = node.name if load.processes == 1 else f"{node.name}.{place + 1}"
            descriptors = segments(layout, config, name, ("event_loop", "syscall", "http"))
            descriptors["arrivals"] = _arrivals(load)
            read, write = os.pipe2(os.O_CLOEXEC)
            told = LoadConfig(
                name=name,
                node=node.name,
                base_urls=[f"{scheme}://{authority_of(to)}" for to in plan.asked_by(node.name)],
                load=load,
                http=config.scenario.http,
                ca_pem=None if authority is None else authority.ca_pem,
                seed=config.seed,
                http_fd=descriptors["http"] or 0,
                progress_fd=write,
                event_loop_fd=descriptors["event_loop"],
                syscall_fd=descriptors["syscall"],
                share=Share(index=place, processes=load.processes),
                arrivals_fd=descriptors["arrivals"],
            )
            pipes[read] = processes.start(
                name,
                "load",
                command("testbed.load", told, config, node),
                node=node.name,
                pass_fds=[*given(descriptors), write],
            )
    return Clients(pipes, config)


def _arrivals(load: Load) -> int | None:
    """A file in memory with the times of a trace of arrivals; None: there is none.

    The client's process may not be allowed to read the file itself.
    """
    if load.arrivals_file is None:
        return None
    descriptor = os.memfd_create("arrivals")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        array("q", read_send_times(load.arrivals_file)).tofile(file)
    return descriptor


class Clients:
    """The load processes, seen through their progress pipes."""

    def __init__(self, pipes: dict[int, ManagedProcess], config: LiveConfig) -> None:
        self._pipes = pipes
        self._rest = dict.fromkeys(pipes, b"")
        self._latest: dict[int, dict[str, Any]] = {pipe: {} for pipe in pipes}
        self._load = config.scenario.load

    def wait_until_ready(self, stopped: Callable[[], bool]) -> None:
        """Returns when every client has its imports behind it.

        Raises:
            ProcessError: one ended, or was not ready in time.
            Interrupted: the user stopped the run meanwhile.
        """
        deadline = time.monotonic() + READY_NS / NS_PER_S
        waiting = set(self._pipes)
        while waiting:
            for pipe in self._ready(list(waiting)):
                process = self._pipes[pipe]
                for line in self._lines(pipe):
                    if line.get("ready"):
                        waiting.discard(pipe)
                if pipe not in self._pipes:
                    raise process.died("before it was ready")
            if stopped():
                raise Interrupted("stopped while the clients were starting")
            if time.monotonic() > deadline:
                names = ", ".join(self._pipes[pipe].name for pipe in waiting)
                raise ProcessError(f"not ready in time: {names}", where=names)

    def go(self) -> None:
        """Starts the load, in all clients as nearly at once as can be.

        Raises:
            ProcessError: one has ended.
        """
        for process in self._pipes.values():
            if process.popen.stdin is None:
                continue
            try:
                process.popen.stdin.write(b"go\n")
                process.popen.stdin.flush()
            except BrokenPipeError as error:
                raise process.died("before the load began") from error

    def follow(
        self,
        tell: OnProgress,
        check: Callable[[], None],
        stopped: Callable[[], bool],
        orders: Orders,
    ) -> None:
        """Tells the progress until every client has ended.

        Args:
            tell: is given the sum over all clients.
            check: raises when another process of the run died.
            stopped: whether the user stopped the run.
            orders: what else happens meanwhile: changes of links.

        Raises:
            ProcessError: a client died, or `check` found a process that did.
            Interrupted: the user stopped the run.
        """
        while self._pipes:
            news = False
            ready = self._ready([*self._pipes, *orders.descriptors()], orders.wait_s(_TELL_EVERY_S))
            orders.act(ready)
            for pipe in self._pipes.keys() & ready:
                process = self._pipes[pipe]
                for line in self._lines(pipe):
                    self._latest[pipe] = line
                    news = True
                if pipe not in self._pipes and process.popen.wait() != 0:
                    raise process.died("during the load")
            if news:
                tell(self._sum())
            check()
            if stopped() or orders.stop_asked:
                raise Interrupted("stopped by the user")

    def _ready(self, pipes: list[int], wait_s: float = _TELL_EVERY_S) -> list[int]:
        return readable(pipes, wait_s)

    def _lines(self, pipe: int) -> Iterator[dict[str, Any]]:
        """The whole lines that have come; a pipe at its end leaves `_pipes`."""
        part = os.read(pipe, 65536)
        if not part:
            os.close(pipe)
            del self._pipes[pipe]
            return
        *lines, self._rest[pipe] = (self._rest[pipe] + part).split(b"\n")
        for line in lines:
            yield msgspec.json.decode(line)

    def _sum(self) -> LoadProgress:
        lines = [line for line in self._latest.values() if "started" in line]
        limit = self._load.request_limit
        return LoadProgress(
            started=sum(line["started"] for line in lines),
            completed=sum(line["completed"] for line in lines),
            failed=sum(line["failed"] for line in lines),
            limit=None if limit is None else limit * len(self._latest) // self._load.processes,
            elapsed_ns=max((line["elapsed_ns"] for line in lines), default=0),
            duration_ns=self._load.duration_ns,
        )
