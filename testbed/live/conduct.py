"""The experiment: network -> server, load -> probes -> recording, in one line.

Rules:

- What was recorded stays readable however this ends: the manifest is written at the start, again at
  the end, and on the way out of every failure.
- Everything that runs is started before the load and told to go together; nothing is measured while
  it starts.
- The end has an order: the clients, the servers, then the network falls quiet, then the probes, the
  relay last, so that every packet that a probe saw has a fate.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, Literal

import msgspec

from testbed import clock
from testbed.errors import (
    Interrupted,
    MachineError,
    ProcessError,
    ScenarioError,
    TestbedError,
)
from testbed.live import machine, observers, servers, tracer
from testbed.live.clients import Clients, start_clients
from testbed.live.config import LiveConfig
from testbed.live.descriptors import note_limits
from testbed.live.drain import wait_until_quiet, wait_until_said
from testbed.live.links import LinkControl
from testbed.live.orders import Orders
from testbed.live.processes import Processes
from testbed.network import kernel_wire, open_vswitch
from testbed.network.build import Network, build
from testbed.network.carrier import wait_until_up
from testbed.network.plan import NetworkPlan, make_plan
from testbed.network.tools import Toolbox
from testbed.network.topology import Topo, load_topology
from testbed.recording.layout import Layout, write_atomically
from testbed.recording.manifest import (
    AppliedChange,
    Clock,
    CpuShare,
    ProbeRecord,
    read_manifest,
    write_manifest,
)
from testbed.recording.progress import (
    LOAD_PHASE,
    OnProgress,
    Phase,
    Progress,
    encode_progress,
)
from testbed.scenario import Scenario

_QUIET_S: Final = 8.0
"""How long the end of a run waits for connections to close; a FIN lost three times takes
200+400+800 ms and its way.
"""
_SAID_S: Final = 1.0
"""For the last words of clients; a lost one comes again after a timeout of 0.2 s or more."""


class StopSignals:
    """Whether SIGINT or SIGTERM asked for the end.

    Attributes:
        raises: let the signal itself end what is under way, with `Interrupted`. So the start can be
            stopped wherever it waits; the load looks at `received` and ends in order.
    """

    def __init__(self) -> None:
        self.received = False
        self.raises = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True
        if self.raises:
            self.raises = False
            raise Interrupted("stopped before the load began")

    def __call__(self) -> bool:
        """Whether the end was asked for."""
        return self.received


def conduct(config: LiveConfig, tell: OnProgress) -> None:
    """Runs the experiment of `config` into its recording.

    Raises:
        TestbedError: it failed or was stopped; the manifest says so too.
    """
    layout = Layout(Path(config.root))
    with Processes(layout) as processes:
        experiment = Experiment(config, layout, processes, tell)
        try:
            experiment.go()
        except TestbedError as error:
            experiment.note_failure(error)
            raise
        finally:
            experiment.end()


class Experiment:
    """One run, from the network to the last packet."""

    def __init__(
        self, config: LiveConfig, layout: Layout, processes: Processes, tell: OnProgress
    ) -> None:
        self._config = config
        self._layout = layout
        self._processes = processes
        self._tell = tell
        self._stopped = StopSignals()
        self._manifest = read_manifest(layout)
        self._plan: NetworkPlan | None = None
        self._trace_missing = config.trace_missing
        self._interface = ""
        self._cpu_before: dict[str, machine.CpuUse] = {}
        self._cpu_shares: dict[str, CpuShare] = {}

    def go(self) -> None:
        """Builds the network, starts everything, makes the load and waits for the last packet."""
        scenario = self._config.scenario
        self._stopped.raises = True
        self._tell(Phase(text="building the network"))
        network = build_network(scenario)
        self._plan = network.plan
        self._describe(network)
        self._tell(Phase(text="starting the server, the clients and the probes"))
        clients = self._start(network)
        self._stopped.raises = False
        links = LinkControl(network, self._processes, self._note_change)
        self._load(clients, links)
        self._tell(Phase(text="waiting until the network is quiet"))
        self._fall_quiet(network.plan)
        self._note(state="complete")

    def _describe(self, network: Network) -> None:
        wires = {link.wire for link in network.plan.links}
        script = network.toolbox.script().encode()
        write_atomically(self._layout.commands, script)
        self._note(
            nodes=list(network.nodes),
            links=list(network.plan.links),
            link_backend="kernel" if "kernel" in wires else "relay",
            probes=self._probe_records(network.plan),
            warnings=[*self._manifest.warnings, *network.plan.warnings],
            clock_start=_clock(),
        )

    def _probe_records(self, plan: NetworkPlan) -> list[ProbeRecord]:
        scenario = self._config.scenario
        records = observers.probe_records(
            scenario.probes, plan, scenario.server_model, self._interface
        )
        return tracer.with_tracepoints(records, self._trace_missing)

    def _start(self, network: Network) -> Clients:
        """Starts all processes at once, then waits for each to be ready."""
        processes, layout, config, plan = self._processes, self._layout, self._config, network.plan
        probes = config.scenario.probe_set
        authority = servers.certificates(config)
        servers.start_servers(processes, layout, plan, config, authority)
        clients = start_clients(processes, layout, plan, config, authority)
        observers.start_relay(processes, layout, plan, config.seed, config.relay_cpu)
        if probes.sample_interval_ns is not None:
            observers.start_sampler(processes, layout, network, probes.sample_interval_ns)
        observers.start_captures(processes, layout, plan, probes)
        tracer.start_tracer(processes, layout, plan, config)
        observers.wait_for_sampler(processes)
        observers.wait_for_captures(processes)
        if untraced := tracer.wait_for_tracer(processes):
            self._trace_missing = untraced
            self._note(probes=self._probe_records(plan))
            self._warn(f"no tracepoints: {untraced}")
        self._interface = servers.wait_for_servers(processes, plan, self._stopped, authority)
        self._note(probes=self._probe_records(plan))
        wait_until_up(plan)
        clients.wait_until_ready(self._stopped)
        note_limits(processes, plan)
        return clients

    def _load(self, clients: Clients, links: LinkControl) -> None:
        cpu_start = machine.cpu_times()
        self._cpu_before = self._cpu_use()
        started_ns = clock.monotonic_ns()
        links.start(started_ns)
        self._note(load_started_ns=started_ns)
        clients.go()
        self._tell(Phase(text=LOAD_PHASE))
        orders = Orders(links, self._tell, self._config.orders_fd)
        try:
            clients.follow(self._tell, self._check_others, self._stopped, orders)
            self._warn(*links.left_over())
        finally:
            shares = machine.shares(cpu_start, machine.cpu_times())
            self._note(
                load_ended_ns=clock.monotonic_ns(),
                stolen_cpu_ratio=shares[0] if shares else None,
                busy_cpu_ratio=shares[1] if shares else None,
                cpu_shares=self._cpu_shares,
            )

    def _note_change(self, change: AppliedChange) -> None:
        self._note(changes=[*self._manifest.changes, change])

    def _check_others(self) -> None:
        """Notes what processes had of the CPUs, which is gone with them.

        Raises when a process other than a client, which may end, has ended.
        """
        for name, now in self._cpu_use().items():
            before = self._cpu_before.get(name, machine.CpuUse(0, 0))
            self._cpu_shares[name] = CpuShare(
                ran_ns=now.ran_ns - before.ran_ns, waited_ns=now.waited_ns - before.waited_ns
            )
        if self._plan is not None:
            open_vswitch.check_running(self._plan)
        for process in self._processes.all:
            if "failure" in process.about:
                continue  # it could not begin, and said so; the run does without it
            if process.kind != "load" and process.exit_code is not None:
                raise process.died("during the load")

    def _cpu_use(self) -> dict[str, machine.CpuUse]:
        """Of all processes that run, by name."""
        found = {one.name: machine.cpu_use(one.popen.pid) for one in self._processes.all}
        return {name: use for name, use in found.items() if use is not None}

    def _fall_quiet(self, plan: NetworkPlan) -> None:
        self._end_applications("load")
        wait_until_said(plan, _SAID_S, self._stopped)
        self._end_applications("server")
        if not wait_until_quiet(plan, _QUIET_S, self._stopped):
            self._warn(
                f"connections were still open {_QUIET_S:g} s after the load: "
                "the last packets may have no fate"
            )

    def _end_applications(self, *kinds: Literal["load", "server"]) -> None:
        """Ends clients or servers; says who did not end well."""
        hurry = self._manifest.state != "complete" and self._stopped()
        for kind in kinds:
            for process in self._processes.end(kind, hurry=hurry):
                self._warn(
                    f"{process.name} did not end well when it was told to "
                    f"({process.how_it_ended()}): its last second may lack"
                )

    def end(self) -> None:
        """Ends every process in order and writes the manifest for the last time.

        Every step is taken whatever became of the ones before. After a failure a further one is its
        consequence: the first is what there is to say.
        """
        self._stopped.raises = False
        self._end_applications("load", "server")
        first: TestbedError | None = None
        steps = (self._end_sampler, self._end_tracer, self._end_captures, self._end_relay)
        for step in steps:
            try:
                step()
            except TestbedError as error:
                first = first or error
        self._note(processes=self._processes.records(), clock_end=_clock())
        if first is not None and self._manifest.state == "complete":
            self.note_failure(first)
            raise first

    def _end_sampler(self) -> None:
        observers.end_sampler(self._processes)

    def _end_tracer(self) -> None:
        tracer.end_tracer(self._processes)

    def _end_captures(self) -> None:
        failed = self._manifest.state != "complete"
        if self._plan is not None:
            late = observers.bring_captures_up_to_date(
                self._processes, self._layout, self._plan, failed=failed
            )
            self._warn(*late)
        for capture in self._processes.end("capture"):
            raise ProcessError(
                f"{capture.name} did not end well ({capture.how_it_ended()})",
                where=capture.name,
                last_lines=capture.last_lines(),
            )

    def _end_relay(self) -> None:
        observers.end_relay(self._processes)

    def note_failure(self, error: TestbedError) -> None:
        """Says in the manifest that the run failed, or was stopped."""
        state = "interrupted" if isinstance(error, Interrupted) else "failed"
        self._note(state=state, failure=str(error))

    def _warn(self, *warnings: str) -> None:
        if warnings:
            self._note(warnings=[*self._manifest.warnings, *warnings])

    def _note(self, **fields: object) -> None:
        """Writes the manifest with these fields changed."""
        self._manifest = msgspec.structs.replace(self._manifest, **fields)
        write_manifest(self._layout, self._manifest)


def build_network(scenario: Scenario) -> Network:
    """Builds the network of `scenario` in this sandbox.

    Raises:
        ScenarioError: netem was asked for and cannot do what the links are to do.
        MachineError: netem was asked for and is not in this kernel.
    """
    topo = load_topology(scenario.topology, scenario.topology_options)
    plan = make_plan(topo, scenario, _wire(topo, scenario))
    return build(plan, scenario.congestion_control)


def _wire(topo: Topo, scenario: Scenario) -> Literal["relay", "kernel"]:
    """Chooses the backend of `auto`.

    netem where there is one that can do what the links are to do, and nobody gave a seed to have
    the same fates again.
    """
    if scenario.link_backend == "relay":
        return "relay"
    if scenario.link_backend == "auto":
        if scenario.seed is not None:
            return "relay"
        try:
            make_plan(topo, scenario, "kernel")
        except ScenarioError:
            return "relay"
    if kernel_wire.is_available(Toolbox()):
        return "kernel"
    if scenario.link_backend == "kernel":
        raise MachineError(
            "the kernel backend needs netem (CONFIG_NET_SCH_NETEM, module sch_netem), which this "
            "kernel does not have; use --link-backend relay",
            where="--link-backend",
        )
    return "relay"


def _clock() -> Clock:
    offset = clock.measure_offset()
    return Clock(
        at_monotonic_ns=offset.at_monotonic_ns,
        offset_ns=offset.offset_ns,
        uncertainty_ns=offset.uncertainty_ns,
    )


def teller(descriptor: int) -> Callable[[Progress], None]:
    """What writes progress as lines on `descriptor`; a reader that is gone is no error."""

    def tell(progress: Progress) -> None:
        try:
            os.write(descriptor, encode_progress(progress))
        except BrokenPipeError:
            return

    return tell
