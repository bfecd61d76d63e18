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
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, Literal

import msgspec

from testbed import clock
from testbed.errors import Interrupted, MachineError, TestbedError
from testbed.live import machine, observers, workload
from testbed.live.config import LiveConfig
from testbed.live.drain import wait_until_quiet
from testbed.live.processes import Processes
from testbed.network import kernel_wire
from testbed.network.build import Network, build
from testbed.network.plan import make_plan
from testbed.network.tools import Toolbox
from testbed.network.topology import load_topology
from testbed.recording.layout import Layout, write_atomically
from testbed.recording.manifest import Clock, Manifest, read_manifest, write_manifest
from testbed.recording.progress import OnProgress, Phase, Progress, encode_progress
from testbed.scenario import Scenario

_QUIET_S: Final = 8.0
"""How long the end of a run waits for connections to close; a FIN lost three times takes
200+400+800 ms and its way.
"""
_QUIET_INTERRUPTED_S: Final = 0.2


class StopSignals:
    """Whether SIGINT or SIGTERM asked for the end."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True

    def __call__(self) -> bool:
        """Whether the end was asked for."""
        return self.received


def conduct(config: LiveConfig, tell: OnProgress) -> None:
    """Runs the experiment of `config` into its recording.

    Raises:
        TestbedError: it failed or was stopped; the manifest says so too.
    """
    layout = Layout(Path(config.root))
    manifest = read_manifest(layout)
    stopped = StopSignals()
    with Processes(layout) as processes:
        try:
            manifest = _experiment(config, layout, manifest, processes, tell, stopped)
        except TestbedError as error:
            state: Literal["interrupted", "failed"]
            state = "interrupted" if isinstance(error, Interrupted) else "failed"
            # The line may have added to the manifest before it broke.
            known = read_manifest(layout)
            manifest = msgspec.structs.replace(known, state=state, failure=str(error))
            raise
        finally:
            _end(processes, layout, manifest, stopped)


def _experiment(
    config: LiveConfig,
    layout: Layout,
    manifest: Manifest,
    processes: Processes,
    tell: OnProgress,
    stopped: StopSignals,
) -> Manifest:
    scenario = config.scenario
    tell(Phase(text="building the network"))
    network = build_network(scenario, config.seed)
    manifest = _describe(manifest, network, scenario)
    write_atomically(layout.commands, network.toolbox.script().encode())
    write_manifest(layout, manifest)
    tell(Phase(text="starting the server, the clients and the probes"))
    workload.start_servers(processes, layout, network.plan, config)
    clients = workload.start_clients(processes, layout, network.plan, config)
    observers.start_relay(processes, layout, network.plan, config.seed)
    if scenario.probes != "none":
        interval_ns = observers.SAMPLE_INTERVAL_NS[scenario.probes]
        observers.start_sampler(processes, layout, network, interval_ns)
        observers.start_captures(processes, layout, network.plan, scenario.probes)
        observers.wait_for_sampler(processes)
        observers.wait_for_captures(processes)
    workload.wait_for_servers(processes, stopped)
    clients.wait_until_ready(stopped)
    tell(Phase(text="load"))
    return _load(layout, manifest, network, processes, clients, tell, stopped)


def _load(
    layout: Layout,
    manifest: Manifest,
    network: Network,
    processes: Processes,
    clients: workload.Clients,
    tell: OnProgress,
    stopped: StopSignals,
) -> Manifest:
    cpu_start = machine.cpu_times()
    started_ns = clock.monotonic_ns()
    write_manifest(layout, msgspec.structs.replace(manifest, load_started_ns=started_ns))
    clients.go()
    try:
        clients.follow(tell, lambda: _check_others(processes), stopped)
    finally:
        shares = machine.shares(cpu_start, machine.cpu_times())
        manifest = msgspec.structs.replace(
            manifest,
            load_started_ns=started_ns,
            load_ended_ns=clock.monotonic_ns(),
            stolen_cpu_ratio=shares[0] if shares else None,
            busy_cpu_ratio=shares[1] if shares else None,
        )
        write_manifest(layout, manifest)
    tell(Phase(text="waiting until the network is quiet"))
    processes.end("load")
    processes.end("server")
    warnings = list(manifest.warnings)
    if not wait_until_quiet(network.plan, _QUIET_S):
        warnings.append(
            f"connections were still open {_QUIET_S:g} s after the load: "
            "the last packets may have no fate"
        )
    return msgspec.structs.replace(manifest, state="complete", warnings=warnings)


def _check_others(processes: Processes) -> None:
    """Raises when a process other than a client, which may end, has ended."""
    for process in processes.all:
        if process.kind != "load" and process.exit_code is not None:
            raise process.died("during the load")


def _end(processes: Processes, layout: Layout, manifest: Manifest, stopped: StopSignals) -> None:
    """Ends every process in order and writes the manifest for the last time."""
    for kind in ("load", "server"):
        processes.end(kind)
    if manifest.state != "complete":
        time.sleep(_QUIET_INTERRUPTED_S)
    try:
        observers.end_sampler(processes)
        processes.end("capture")
        observers.end_relay(processes)
    except TestbedError as error:
        if manifest.state == "complete":
            manifest = msgspec.structs.replace(manifest, state="failed", failure=str(error))
            raise
    finally:
        end_clock = _clock()
        write_manifest(
            layout,
            msgspec.structs.replace(manifest, processes=processes.records(), clock_end=end_clock),
        )


def build_network(scenario: Scenario, seed: int) -> Network:
    """Builds the network of `scenario` in this sandbox.

    Raises:
        MachineError: netem was asked for and is not in this kernel.
    """
    topo = load_topology(scenario.topology, scenario.topology_options)
    plan = make_plan(topo, scenario, _wire(scenario))
    return build(plan, scenario.congestion_control)


def _wire(scenario: Scenario) -> Literal["relay", "kernel"]:
    """auto: netem where there is one and nobody gave a seed to have the same fates again."""
    if scenario.link_backend == "relay":
        return "relay"
    if scenario.link_backend == "auto" and scenario.seed is not None:
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


def _describe(manifest: Manifest, network: Network, scenario: Scenario) -> Manifest:
    wires = {link.wire for link in network.plan.links}
    return msgspec.structs.replace(
        manifest,
        nodes=list(network.nodes),
        links=list(network.plan.links),
        link_backend="kernel" if "kernel" in wires else "relay",
        probes=observers.probe_records(scenario.probes),
        warnings=[*manifest.warnings, *network.plan.warnings],
        clock_start=_clock(),
    )


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
