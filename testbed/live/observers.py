"""The relay and the probes outside of the applications: sampler and captures."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from testbed.errors import ProcessError, RunError
from testbed.events.qdisc import WIRES
from testbed.live.processes import ManagedProcess, Processes
from testbed.live.waiting import readable
from testbed.network.build import Network
from testbed.network.directions import wire_config
from testbed.network.plan import NetworkPlan
from testbed.network.relay.config import LinkConfig, RelayAnswer, RelayConfig, TapEnd
from testbed.network.tools import find_tool
from testbed.probes.link import READY_WORD, CaptureFile, buffer_mib, dumpcap_argv, send_markers
from testbed.probes.sampler import SampledNode, SampledProcess, SamplerAnswer, SamplerConfig
from testbed.recording.layout import Layout, create_partial, partial
from testbed.recording.manifest import ProbeRecord
from testbed.sandbox.netns import of_node, of_process, visiting
from testbed.scenario.probes import ProbeSet, parse_probes
from testbed.scenario.servers import MODELS, ServerModel

_UP_TO_DATE_S: Final = 10.0
_UP_TO_DATE_FAILED_S: Final = 0.3
_POLL_S: Final = 0.01
_CLOSE_S: Final = 0.2
"""What dumpcap may need to close an interface, beyond the patience with any process: 30 ms where
CPUs are free."""
_MARKERS_AT_ONCE: Final = 32
"""Nodes that markers are sent in at a time: what takes time is waiting in the kernel."""
_READY_S: Final = 120.0
"""Only a bound on hanging: a process that died is seen at once. An emulated CPU takes 30 s here."""


def start_relay(
    processes: Processes, layout: Layout, plan: NetworkPlan, seed: int, cpu: int | None
) -> None:
    """Starts the relay for the links that have one; returns when its devices are open.

    Args:
        processes: gets it.
        layout: of the recording.
        plan: of the network.
        seed: of the run.
        cpu: kept free for it, or None.

    Raises:
        ProcessError: it ended or said nothing.
    """
    links = []
    for link in plan.links:
        if link.wire != "relay":
            continue
        ends = (
            TapEnd(node=link.forward.sender, interface=link.forward.sender_interface),
            TapEnd(node=link.forward.receiver, interface=link.forward.receiver_interface),
        )
        links.append(
            LinkConfig(
                name=link.name,
                ends=ends,
                forward=wire_config(link.forward),
                reverse=wire_config(link.reverse),
                log_fd=create_partial(layout.segment(f"link.{link.name}")),
            )
        )
    if not links:
        return
    relay = processes.start(
        "relay",
        "relay",
        [sys.executable, "-m", "testbed.network.relay"],
        pass_fds=[link.log_fd for link in links],
        answers=True,
    )
    relay.write_line(msgspec.json.encode(RelayConfig(seed=seed, links=links, cpu=cpu)))
    answer = msgspec.json.decode(relay.read_line(_READY_S), type=RelayAnswer)
    relay.about["scheduler"] = answer.scheduler
    if cpu is not None:
        relay.about["cpu"] = cpu


def end_relay(processes: Processes) -> None:
    """Ends the relay and keeps its counts.

    Raises:
        ProcessError: it did not end well; its own balance, in == out + dropped + held, may have
            failed.
    """
    for relay in processes.of_kind("relay"):
        relay.ask_to_end()
        answer = msgspec.json.decode(relay.read_line(_READY_S), type=RelayAnswer)
        if relay.end() != 0:
            raise relay.died("with an error")
        for link, directions in (answer.counts or {}).items():
            for direction, counts in directions.items():
                for name, value in msgspec.structs.asdict(counts).items():
                    relay.about[f"{link}.{direction}.{name}"] = value


def start_sampler(
    processes: Processes, layout: Layout, network: Network, interval_ns: int
) -> ManagedProcess:
    """Starts the sampler over all nodes, and over the servers and clients that were started."""
    descriptor = create_partial(layout.segment("sampler"))
    nodes = [
        SampledNode(
            name=node.name,
            namespace=of_node(node.name),
            sockets=node.role in ("client", "server"),
        )
        for node in network.plan.nodes
    ]
    if any(link.wire == "kernel" for link in network.plan.links):
        here = SampledNode(
            name=WIRES, namespace=of_process(os.getpid()), sockets=False, counters=False
        )
        nodes.append(here)
    applications = [
        SampledProcess(name=one.name, node=one.node, process_id=one.popen.pid)
        for kind in ("server", "load")
        for one in processes.of_kind(kind)
    ]
    config = SamplerConfig(
        nodes=nodes,
        processes=applications,
        interval_ns=interval_ns,
        segment_fd=descriptor,
        ip=network.plan.ip,
    )
    return processes.start(
        "sampler",
        "sampler",
        [sys.executable, "-m", "testbed.probes", msgspec.json.encode(config).decode()],
        pass_fds=[descriptor],
        answers=True,
    )


def wait_for_sampler(processes: Processes) -> None:
    """Returns when the sampler samples."""
    for sampler in processes.of_kind("sampler"):
        sampler.read_line(_READY_S)


def end_sampler(processes: Processes) -> None:
    """Ends the sampler and keeps what it says of itself.

    Raises:
        ProcessError: it did not end well.
    """
    for sampler in processes.of_kind("sampler"):
        sampler.ask_to_end()
        answer = msgspec.json.decode(sampler.read_line(_READY_S), type=SamplerAnswer)
        sampler.about.update(msgspec.structs.asdict(answer))
        if sampler.end() != 0:
            raise sampler.died("with an error")


def start_captures(
    processes: Processes, layout: Layout, plan: NetworkPlan, probes: ProbeSet
) -> None:
    """Starts a capture in each node, or only at both ends of bottlenecks, or none."""
    if probes.captures == "nowhere":
        return
    find_tool("dumpcap")
    watched = {
        link.name for link in plan.links if probes.captures == "everywhere" or link.bottleneck
    }
    ring_mib = buffer_mib(sum(i.link in watched for node in plan.nodes for i in node.interfaces))
    for node in plan.nodes:
        interfaces = [i.name for i in node.interfaces if i.link in watched]
        if interfaces:
            capture = processes.start(
                f"capture.{node.name}",
                "capture",
                dumpcap_argv(interfaces, partial(layout.capture(node.name)), ring_mib),
                node=node.name,
                lifeline=False,
            )
            capture.more_patience_s = _CLOSE_S * len(interfaces)
            capture.about.update(dict.fromkeys(interfaces, "captured"))


def wait_for_captures(processes: Processes) -> None:
    """Returns when every capture has its interfaces open.

    Raises:
        ProcessError: one ended, or was not ready in time.
    """
    deadline = time.monotonic() + _READY_S
    for capture in processes.of_kind("capture"):
        while READY_WORD not in capture.log.read_bytes():
            if readable([capture.pidfd], _POLL_S):
                raise capture.died("before it captured anything")
            if time.monotonic() > deadline:
                raise ProcessError(
                    f"{capture.name} was not ready within {_READY_S:g} s",
                    where=capture.name,
                    last_lines=capture.last_lines(),
                )


def bring_captures_up_to_date(
    processes: Processes, layout: Layout, plan: NetworkPlan, *, failed: bool
) -> list[str]:
    """Waits until every capture's file holds all that went before.

    Args:
        processes: with the captures.
        layout: of the recording.
        plan: of the network.
        failed: the run failed or was stopped: somebody waits for the end, and not all may be well
            with the interfaces (a TAP device without its relay carries no marker).

    Returns:
        A warning for each capture that did not get there in time.

    Raises:
        RunError: an interface is gone or down.
    """
    captures = processes.of_kind("capture")
    watched = {
        one.node: {i.name: i.mac for i in plan.node(one.node).interfaces if i.name in one.about}
        for one in captures
    }
    with ThreadPoolExecutor(_MARKERS_AT_ONCE) as pool:
        list(pool.map(_mark, watched, watched.values()))
    waiting = {
        one.name: CaptureFile(partial(layout.capture(one.node)), list(watched[one.node].values()))
        for one in captures
    }
    patience_s = _UP_TO_DATE_FAILED_S if failed else _UP_TO_DATE_S
    deadline = time.monotonic() + patience_s
    while waiting and time.monotonic() < deadline:
        waiting = {name: file for name, file in waiting.items() if not file.is_up_to_date()}
        time.sleep(_POLL_S if waiting else 0)
    return [
        f"{name} did not hand on all its packets within {patience_s:g} s: its last ones may lack"
        for name in waiting
    ]


def _mark(node: str, macs: Mapping[str, str]) -> None:
    """Sends a marker through interfaces of a node."""
    try:
        with visiting(of_node(node)):
            send_markers(macs)
    except OSError as error:
        raise RunError(f"no marker could leave {node}: {error}", where=node) from error


def probe_records(
    probes: str, plan: NetworkPlan, server: ServerModel = MODELS["hypercorn"], interface: str = ""
) -> list[ProbeRecord]:
    """What each layer is observed by in this run, bottom to top; without tracepoints.

    Args:
        probes: as it is written in the scenario.
        plan: of the network.
        server: what runs the application.
        interface: the application's, ``ASGI`` or ``WSGI``; empty while it is not known.
    """
    chosen = parse_probes(probes)
    relayed = any(link.wire == "relay" for link in plan.links)
    link_sources = [
        *(["relay log"] if relayed else []),
        *(["captures"] if chosen.captures != "nowhere" else []),
    ]
    sampled = chosen.sample_interval_ns is not None
    tcp_sources = ["inet_diag TCP_INFO", "/proc/net/netstat"] if sampled else []
    ip_sources = ["/proc/net/snmp6"]
    if plan.ip == 4:
        ip_sources = ["/proc/net/snmp", "/proc/net/netstat"]
    if chosen.captures == "everywhere":
        tcp_sources.append("captures")
    off = f"switched off (--probes {probes})"
    loops, sockets = ["trio Instrument"], ["trio socket"]
    if server.loop == "asyncio":
        loops.append("asyncio event loop")
        sockets.append("plain socket")
    records = [
        _record("link", bool(link_sources), link_sources, off),
        _record("nic", sampled, ["/proc/net/dev"], off),
        _record("qdisc", sampled, ["rtnetlink RTM_GETQDISC"], off),
        _record("ip", sampled, ip_sources, off),
        _record("tcp", bool(tcp_sources), tcp_sources, off),
        _record("socket", sampled, ["inet_diag SK_MEMINFO", "/proc/PID/fd"], off),
        _record("syscall", chosen.syscall, sockets, off),
        _record("event_loop", chosen.event_loop, loops, off),
        _record("asgi", chosen.asgi, ["ASGI middleware"], off),
        _record("http", True, ["httpcore trace"]),
    ]
    return [_of_server(record, server, interface) for record in records]


def _of_server(record: ProbeRecord, server: ServerModel, interface: str) -> ProbeRecord:
    """The record with what cannot be seen of this server: clients are observed all the same."""
    if record.observed and record.layer == "asgi" and interface == "WSGI":
        return _record("asgi", False, [], "the application is a WSGI application")
    blind = server.blind(record.layer)
    reason = f"of the clients only: {blind}" if blind else server.lacking(record.layer)
    if not record.observed or not reason:
        return record
    return msgspec.structs.replace(record, reason=reason)


def _record(layer: str, observed: bool, sources: list[str], reason: str = "") -> ProbeRecord:
    return ProbeRecord(
        layer=layer,
        observed=observed,
        reason="" if observed else reason,
        sources=sources if observed else [],
    )
