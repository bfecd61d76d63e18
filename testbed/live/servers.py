"""Servers of a run: the application under test, in each server host."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from testbed.errors import Interrupted
from testbed.live.applications import READY_NS, command, given, segments
from testbed.live.config import LiveConfig
from testbed.live.privileges import server_user
from testbed.live.processes import Processes
from testbed.network.plan import NetworkPlan
from testbed.recording.layout import Layout
from testbed.sandbox.netns import of_node, visiting
from testbed.server.config import ServerConfig
from testbed.server.environment import packages_of
from testbed.server.listening import bind
from testbed.server.readiness import wait_until_ready
from testbed.units import NS_PER_S

if TYPE_CHECKING:
    from testbed.live.certificates import Certificates

PORT: Final = 8000
"""Not a privileged one: the server has no privileges."""


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
        descriptors = segments(layout, config, name, (*seeing, "asgi"))
        if authority is not None:
            addresses = {plan.address(node), plan.asked_at(node)}
            descriptors["tls"] = authority.issue([node, *sorted(addresses)], server_user())
        ready, descriptors["ready"] = os.pipe2(os.O_CLOEXEC)
        listening = [os.dup(one.fileno()) for one in shared]
        process = processes.start(
            name,
            "server",
            command(
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
            pass_fds=[*given(descriptors), *listening],
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
                    authority.greet(connection, plan.address(node))

        wait_until_ready(
            server.popen,
            connect,
            name=server.name,
            log=server.log,
            timeout_ns=READY_NS,
            sleep=patience,
        )
        interface = server.read_ready(READY_NS / NS_PER_S)
    return interface


def authority_of(address: str) -> str:
    """Where a server listens, as in a URL (RFC 3986, 3.2.2): ``[fd00::1]:8000``."""
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"
