"""The measurement inside its sandbox: `python -m benchmarks.theory.lab ORDERS_JSON`.

    build the network, start the relay -> pings while it is idle -> one iperf3 flow, with pings
    beside it where they are wanted -> end the relay

The flow goes from the client to the server. What the tools printed and the relay's log stay in the
folder of the orders; `measure` reads them from outside. A line of JSON (`Answer`) ends it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from testbed.errors import ProcessError, TestbedError
from testbed.live import observers
from testbed.live.conduct import build_network
from testbed.live.processes import ManagedProcess, Processes
from testbed.network.plan import NetworkPlan
from testbed.network.tools import find_tool
from testbed.recording.layout import Layout
from testbed.sandbox.netns import of_node, visiting
from testbed.scenario import Scenario

PING_INTERVAL_S: Final = 0.1
FLOW, IDLE_PING, LOADED_PING = "flow", "ping.idle", "ping.loaded"
"""Names of the processes whose output is read."""
_PORT: Final = 5201
_LISTEN: Final = "0A"
"""TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)."""
_PATIENCE_S: Final = 30.0
"""Bound on hanging, beyond the time that a step takes by itself."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One flow to measure."""

    name: str
    """Unlike that of any other job; names its folder."""
    scenario: Scenario
    """The relay serves its links."""
    seed: int
    """Of the relay's random streams."""
    seconds: int
    """How long the flow is measured."""
    omit_s: int = 0
    """How long it has run when that begins."""
    idle_pings: int = 0
    """Before the flow."""
    loaded_pings: int = 0
    """While the flow runs, from its first moment on."""

    @property
    def takes_s(self) -> float:
        """How long it takes, beside building and ending."""
        loaded_s = max(self.seconds + self.omit_s, self.loaded_pings * PING_INTERVAL_S)
        return self.idle_pings * PING_INTERVAL_S + loaded_s


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the lab is told."""

    root: str
    """A folder as `testbed.recording.layout.create` makes it."""
    job: Job
    relay_cpu: int | None = None
    """A CPU that is kept free for the relay."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What it says in the end, or why it could not."""

    scheduler: str = ""
    """The relay's: ``fifo`` or ``other``."""
    overflowed: int = 0
    """Frames that the relay could not write."""
    failure: str = ""
    exit_code: int = 0


def carry_out(orders: Orders) -> Answer:
    """Builds, measures and ends everything.

    Raises:
        TestbedError: the network could not be built, or a tool failed or hung.
    """
    layout, job = Layout(Path(orders.root)), orders.job
    with Processes(layout) as processes:
        plan = build_network(job.scenario).plan
        observers.start_relay(processes, layout, plan, job.seed, orders.relay_cpu)
        _serve(processes, _server(plan))
        if job.idle_pings:
            idle = _ping(processes, plan, IDLE_PING, job.idle_pings)
            _finish(idle, job.takes_s)
        flow = processes.start(FLOW, "load", _flow_argv(job, plan), node=_client(plan))
        if job.loaded_pings:
            loaded = _ping(processes, plan, LOADED_PING, job.loaded_pings)
            _finish(loaded, job.takes_s)
        _finish(flow, job.takes_s)
        observers.end_relay(processes)
        relay = processes.of_kind("relay")[0]
        overflowed = [n for name, n in relay.about.items() if name.endswith(".overflowed")]
        return Answer(scheduler=str(relay.about["scheduler"]), overflowed=sum(map(int, overflowed)))


def _client(plan: NetworkPlan) -> str:
    return plan.with_role("client")[0].name


def _server(plan: NetworkPlan) -> str:
    return plan.with_role("server")[0].name


def _serve(processes: Processes, node: str) -> None:
    """Starts iperf3's server; returns when it listens."""
    argv = [find_tool("iperf3"), "-4", "--server", "--one-off"]
    server = processes.start("iperf3.server", "server", argv, node=node, lifeline=False)
    deadline = time.monotonic() + _PATIENCE_S
    while not _listens(node):
        if server.exit_code is not None:
            raise server.died("before it listened")
        if time.monotonic() > deadline:
            raise ProcessError(f"{server.name} does not listen", where=server.name)
        time.sleep(0.01)


def _listens(node: str) -> bool:
    with visiting(of_node(node)):
        lines = Path("/proc/thread-self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    fields = [line.split() for line in lines]
    return any(int(f[1].split(":")[1], 16) == _PORT and f[3] == _LISTEN for f in fields)


def _flow_argv(job: Job, plan: NetworkPlan) -> list[str]:
    times = ["--time", str(job.seconds), "--omit", str(job.omit_s)]
    address = plan.address(_server(plan))
    return [find_tool("iperf3"), "-4", "--client", address, *times, "--json"]


def _ping(processes: Processes, plan: NetworkPlan, name: str, count: int) -> ManagedProcess:
    how = ["-n", "-i", str(PING_INTERVAL_S), "-c", str(count)]
    argv = [find_tool("ping"), *how, plan.address(_server(plan))]
    return processes.start(name, "load", argv, node=_client(plan))


def _finish(process: ManagedProcess, takes_s: float) -> None:
    """Waits until a tool has ended.

    Args:
        process: the tool.
        takes_s: how long it takes by itself, at most.

    Raises:
        ProcessError: it ended with an error, or did not end.
    """
    try:
        code = process.popen.wait(takes_s + _PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise ProcessError(
            f"{process.name} should take {takes_s:g} s and did not end in {_PATIENCE_S:g} s more",
            where=process.name,
            last_lines=process.last_lines(),
        ) from None
    if code != 0:
        raise process.died("with an error")


def main() -> int:
    """Carries out the orders of the command line; returns the exit code."""
    try:
        answer = carry_out(msgspec.json.decode(sys.argv[1], type=Orders))
    except TestbedError as error:
        answer = Answer(failure=str(error), exit_code=error.exit_code)
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    return answer.exit_code


if __name__ == "__main__":
    sys.exit(main())
