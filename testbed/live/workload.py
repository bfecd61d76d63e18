"""Servers and clients of a run."""

from __future__ import annotations

import os
import socket
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from testbed.errors import Interrupted, ProcessError
from testbed.live.config import LiveConfig
from testbed.live.descriptors import limited
from testbed.live.orders import Orders
from testbed.live.privileges import CLIENT_ID, SERVER_ID, server_user, without_privileges
from testbed.live.processes import ManagedProcess, Processes
from testbed.live.waiting import readable
from testbed.load.config import LoadConfig
from testbed.load.share import Share
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.recording.layout import Layout, create_partial
from testbed.recording.progress import LoadProgress, OnProgress
from testbed.sandbox.netns import of_node, visiting
from testbed.scenario import Load
from testbed.scenario.tables import read_send_times
from testbed.server.config import ServerConfig
from testbed.server.environment import packages_of
from testbed.server.listening import bind
from testbed.server.readiness import wait_until_ready
from testbed.units import NS_PER_S

if TYPE_CHECKING:
    from testbed.live.certificates import Certificates

PORT: Final = 8000
"""Not a privileged one: the server has no privileges."""
_READY_NS: Final = 120 * NS_PER_S
"""Only a bound on hanging: a process that died is seen at once. An emulated CPU takes 30 s here."""
_TELL_EVERY_S: Final = 0.1


def certificates(config: LiveConfig) -> Certificates | None:
    """An authority for the run; None: it does without TLS."""
    if not config.scenario.tls:
        return None
    # Not at the top: only runs with TLS pay for it.
    from testbed.live.certificates import Certificates

    return Certificates()


def start_servers(
    processes: Processes,
    layout: Layout,
    plan: NetworkPlan,
    config: LiveConfig,
    authority: Certificates | None = None,
) -> None:
    """Starts the application in each server host, with TLS where there is an authority.

    With several workers they are as many processes, which share one listening socket.

    Raises:
        ProcessError, MachineError: see testbed.server.listening.
    """
    for node in plan.with_role("server"):
        _start_server(processes, layout, plan, config, node.name, authority)


def _start_server(
    processes: Processes,
    layout: Layout,
    plan: NetworkPlan,
    config: LiveConfig,
    node: str,
    authority: Certificates | None,
) -> None:
    scenario = config.scenario
    told = ServerConfig(
        node=node,
        server=scenario.server,
        app=scenario.app,
        directory=config.directory,
        packages=packages_of(scenario.app_environment),
        hosts=["0.0.0.0" if plan.ip == 4 else "::"],
        port=PORT,
        backlog=scenario.backlog,
        receive_buffer_bytes=scenario.receive_buffer_bytes,
        send_buffer_bytes=scenario.send_buffer_bytes,
        http=scenario.http,
    )
    shared = []
    if scenario.workers > 1:
        with visiting(of_node(node)):
            shared = [bind(host, told) for host in told.hosts]
    seeing = [name for name in ("event_loop", "syscall") if not scenario.server_model.blind(name)]
    for name in worker_names(node, scenario.workers):
        descriptors = _segments(layout, config, name, (*seeing, "asgi"))
        if authority is not None:
            addresses = {plan.address(node), plan.asked_at(node)}
            descriptors["tls"] = authority.issue([node, *sorted(addresses)], server_user())
        ready, descriptors["ready"] = os.pipe2(os.O_CLOEXEC)
        listening = [os.dup(one.fileno()) for one in shared]
        process = processes.start(
            name,
            "server",
            _command(
                "testbed.server",
                msgspec.structs.replace(
                    told,
                    name=name,
                    listen_fds=listening,
                    **{f"{source}_fd": descriptor for source, descriptor in descriptors.items()},
                ),
                config,
                plan.node(node),
            ),
            node=node,
            pass_fds=[*_given(descriptors), *listening],
        )
        process.ready_fd = ready
    for one in shared:
        one.close()


def worker_names(node: str, workers: int) -> list[str]:
    """The names of a server's processes: the node's, and with several a number behind it."""
    return [node] if workers == 1 else [f"{node}.{number}" for number in range(1, workers + 1)]


def wait_for_servers(
    processes: Processes,
    plan: NetworkPlan,
    stopped: Callable[[], bool],
    authority: Certificates | None = None,
) -> str:
    """Returns when every server process listens and its host accepts connections.

    That is tried from within the host; with TLS it takes a handshake which a client would believe.

    Returns:
        What the application is: ``ASGI`` or ``WSGI``.

    Raises:
        RequestError, ProcessError: see testbed.server.readiness.
        Interrupted: the user stopped the run meanwhile.
    """

    def patience(seconds: float) -> None:
        if stopped():
            raise Interrupted("stopped while the server was starting")
        time.sleep(seconds)

    here, interface = "127.0.0.1" if plan.ip == 4 else "::1", ""
    for server in processes.of_kind("server"):

        def connect(node: str = server.node) -> None:
            with (
                visiting(of_node(node)),
                socket.create_connection((here, PORT), timeout=1) as connection,
            ):
                if authority is not None:
                    authority.greet(connection, node)

        wait_until_ready(
            server.popen,
            connect,
            name=server.name,
            log=server.log,
            timeout_ns=_READY_NS,
            sleep=patience,
        )
        interface = server.read_ready(_READY_NS / NS_PER_S)
    return interface


def authority_of(address: str) -> str:
    """Where a server listens, as in a URL (RFC 3986, 3.2.2): ``[fd00::1]:8000``."""
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"


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
            descriptors = _segments(layout, config, name, ("event_loop", "syscall", "http"))
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
                _command("testbed.load", told, config, node),
                node=node.name,
                pass_fds=[*_given(descriptors), write],
            )
    return Clients(pipes, config)


def _segments(
    layout: Layout, config: LiveConfig, process: str, names: tuple[str, ...]
) -> dict[str, int | None]:
    """A descriptor for each segment that this run's probes write; None for what is off."""
    probes = config.scenario.probe_set
    wanted = {
        "event_loop": probes.event_loop,
        "syscall": probes.syscall,
        "asgi": probes.asgi,
        "http": True,
    }
    return {
        name: create_partial(layout.segment(f"{name}.{process}")) if wanted[name] else None
        for name in names
    }


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


def _given(descriptors: dict[str, int | None]) -> list[int]:
    return [descriptor for descriptor in descriptors.values() if descriptor is not None]


def _command(module: str, told: msgspec.Struct, config: LiveConfig, node: NodePlan) -> list[str]:
    """The command of a process in `node`, without privileges and with the node's limits.

    Raises:
        MachineError: a limit is higher than this process may give.
    """
    argument = msgspec.json.encode(told).decode()
    argv = [sys.executable, "-m", module, argument]
    user = SERVER_ID if isinstance(told, ServerConfig) else CLIENT_ID
    environment = config.scenario.app_environment
    folders = [Path(config.directory), *([Path(environment).expanduser()] if environment else [])]
    return limited(without_privileges(argv, folders, user), node, config.descriptors)


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
        deadline = time.monotonic() + _READY_NS / NS_PER_S
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
