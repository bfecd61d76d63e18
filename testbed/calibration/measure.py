"""The measurements, one function each; what they do is drawn in `lab`.

What is measured, and where it is stamped:

- Delay: from the kernel's stamp of a frame that leaves the sender's interface, after its queue, to
  the stamp of the same frame that comes to the receiver's; the delay set is taken off. That is what
  the verdict's `delay error` is made of. Python's own lateness is in neither stamp.
- Rate: stamps at the receiver, of a sender that always has more.
- Loss, and what is carried: counts of frames sent and of frames that the receiver's interface
  counted; nothing is captured, so that nothing can be missed.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from testbed import bundled, clock
from testbed.analysis.metrics.binomial import interval
from testbed.analysis.verdict import FULL_FRAME_BYTES, LOSS_CONFIDENCE
from testbed.calibration import figures
from testbed.calibration.lab import RECEIVER, SENDER, Lab, scenario
from testbed.calibration.measuring import Measuring, measuring
from testbed.calibration.record import (
    CarriedMeasure,
    Circumstances,
    DelayMeasure,
    LoadBeside,
    LossMeasure,
    RateMeasure,
    TcpMeasure,
)
from testbed.calibration.traffic import Sender, send_at_random
from testbed.errors import RunError
from testbed.live import observers, servers
from testbed.live.clients import start_clients
from testbed.live.config import LiveConfig
from testbed.live.links import LinkControl
from testbed.live.orders import Orders
from testbed.network.tools import find_tool, locate
from testbed.recording.manifest import LinkRecord
from testbed.recording.progress import LoadProgress, Progress
from testbed.scenario import Load
from testbed.scenario.probes import SAMPLE_NS
from testbed.units import NS_PER_MS, NS_PER_S

PROBES_PER_S: Final = 750.0
"""Over all delay links together."""
PROBE_BYTES: Final = 200
USERS: Final = 16
"""Enough to keep the server and the client busy at a round trip of 20 ms."""
LOSS_FRAME_BYTES: Final = 60
WARM_UP_NS: Final = 300 * NS_PER_MS
"""Left out at the start of a rate: HTB begins with a full bucket."""
_LOAD_AHEAD_NS: Final = 300 * NS_PER_MS
"""How long the load runs before the frames, and after them."""
_SETTLE_S: Final = 0.03
"""What the last packets may need beyond their delay."""
_IPERF3_S: Final = 10.0
"""How long it may take to start, and to end; only a bound on hanging."""


def _sender(lab: Lab, link: LinkRecord, size_bytes: int, under_way_bit_s: int | None) -> Sender:
    way = link.forward
    macs = (
        lab.mac_of(way.sender, way.sender_interface),
        lab.mac_of(way.receiver, way.receiver_interface),
    )
    return Sender(way.sender, way.sender_interface, macs, size_bytes, under_way_bit_s)


@dataclass(frozen=True, slots=True)
class Delays:
    """What a measurement of delays gives."""

    delays: list[DelayMeasure]
    circumstances: Circumstances
    load: LoadBeside | None
    scheduler: str | None


def delays(lab: Lab, duration_ns: int, *, loaded: bool) -> Delays:
    """One-way delay errors of all delay links, with or without an HTTP load beside it."""
    links = lab.delay_links
    with measuring(lab, "delays", links) as here:
        http = HttpLoad(lab, here, duration_ns) if loaded else None
        here.start_captures(*(node.name for node in lab.plan.nodes if loaded or _routes(node.name)))
        if http is not None:
            http.start()
        senders = [_sender(lab, link, PROBE_BYTES, None) for link in links]
        here.begin()
        send_at_random(senders, PROBES_PER_S, duration_ns)
        lasted = here.end()
        for sender in senders:
            sender.close()
        load = None if http is None else http.finish()
        time.sleep(max(link.forward.delay_ns for link in links) / NS_PER_S + _SETTLE_S)
        lasted = here.close(lasted)
        found = [_delay(here, link, loaded=loaded) for link in links]
        return Delays(found, lasted, load, here.scheduler)


def _routes(node: str) -> bool:
    return node in (SENDER, RECEIVER)


def _delay(here: Measuring, link: LinkRecord, *, loaded: bool) -> DelayMeasure:
    way = link.forward
    sent = here.seen(way.sender, way.sender_interface)
    came = here.seen(way.receiver, way.receiver_interface)
    errors = figures.delay_errors_ns((sent.key, sent.t_ns), (came.key, came.t_ns), way.delay_ns)
    found = figures.spread(errors)
    if found is None:
        raise RunError(f"no frame came through {link.name}", where=link.name)
    return DelayMeasure(
        delay_ns=way.delay_ns,
        capacity_bit_s=way.capacity_bit_s or 0,
        loaded=loaded,
        error=found,
    )


class HttpLoad:
    """The application `hello`, its clients and all probes of a run, beside a measurement."""

    def __init__(self, lab: Lab, here: Measuring, duration_ns: int) -> None:
        self._here = here
        processes, layout, plan = here.processes, here.layout, lab.plan
        load = Load(users=USERS, duration=f"{duration_ns + 2 * _LOAD_AHEAD_NS}ns")
        config = LiveConfig(
            root=str(layout.root),
            scenario=scenario(load),
            seed=1,
            directory=str(bundled.folder("apps")),
        )
        self._latest: LoadProgress | None = None
        self._links = LinkControl(lab.network, processes, lambda _change: None)
        servers.start_servers(processes, layout, plan, config)
        self._clients = start_clients(processes, layout, plan, config)
        observers.start_sampler(processes, layout, lab.network, SAMPLE_NS)

    def start(self) -> None:
        """Returns when requests are on their way.

        Raises:
            TestbedError: the server or the clients did not start.
        """
        observers.wait_for_sampler(self._here.processes)
        servers.wait_for_servers(self._here.processes, self._here.lab.network.plan, _never)
        self._clients.wait_until_ready(_never)
        self._clients.go()
        time.sleep(_LOAD_AHEAD_NS / NS_PER_S)

    def finish(self) -> LoadBeside:
        """Waits for the load's end; what became of it.

        Raises:
            TestbedError: a client or the server did not end well.
        """
        orders = Orders(self._links, self._tell, None)
        self._clients.follow(self._tell, lambda: None, _never, orders)
        for kind in ("load", "server"):
            for process in self._here.processes.end(kind):
                raise process.died("with an error")
        observers.end_sampler(self._here.processes)
        if self._latest is None:
            raise RunError("the load beside the measurement told nothing", where="client")
        return LoadBeside(
            completed_requests=self._latest.completed,
            failed_requests=self._latest.failed,
            requests_per_s=figures.rate_per_s(self._latest.completed, self._latest.elapsed_ns),
        )

    def _tell(self, event: Progress) -> None:
        if isinstance(event, LoadProgress):
            self._latest = event


def _never() -> bool:
    return False


def rate(lab: Lab, link: LinkRecord, duration_ns: int) -> RateMeasure:
    """The rate of a saturated link, in the long run and in windows."""
    way = link.forward
    capacity = way.capacity_bit_s
    if capacity is None:
        raise ValueError(f"{link.name} has no capacity")
    with measuring(lab, "rate", [link]) as here:
        here.start_captures(way.receiver)
        with _sender(lab, link, FULL_FRAME_BYTES, capacity) as sender:
            sender.saturate(WARM_UP_NS)
            sender.ran_dry = 0
            here.begin()
            sender.saturate(duration_ns)
            lasted = here.end()
        lasted = here.close(lasted)
        came = here.seen(way.receiver, way.receiver_interface)
    begins_ns = int(came.t_ns.min(initial=2**62)) + WARM_UP_NS
    counted = (came.t_ns >= begins_ns) & (came.t_ns <= begins_ns + duration_ns)
    order = np.argsort(came.t_ns[counted], kind="stable")
    arrivals, sizes = came.t_ns[counted][order], came.size_bytes[counted][order]
    if arrivals.size < 2:
        raise RunError(f"{arrivals.size} frames came through {link.name}", where=link.name)
    found = figures.rate_error(arrivals, sizes, capacity)
    median, most = figures.spread_of_sizes(found.windows)
    return RateMeasure(
        capacity_bit_s=capacity,
        packets=found.packets,
        long_run_error_ratio=found.long_run,
        window_ns=figures.WINDOW_NS,
        windows=int(found.windows.size),
        window_error_p50_ratio=median,
        window_error_max_ratio=most,
        capture_missed_packets=came.missed_packets,
        sender_ran_dry=sender.ran_dry,
        circumstances=lasted,
    )


def loss(lab: Lab, packets: int) -> LossMeasure:
    """How many of so many packets are lost."""
    link = lab.loss_link
    way = link.forward
    with measuring(lab, "loss", [link]) as here:
        before = here.received_packets(link)
        with _sender(lab, link, LOSS_FRAME_BYTES, way.capacity_bit_s) as sender:
            here.begin()
            sender.send_many(packets)
            _wait_until_still(here, link)
            lasted = here.end()
        received = here.received_packets(link) - before
        lasted = here.close(lasted)
    # What the emulator lost by itself is told apart: it is none of the loss that was asked for.
    sent = packets - lasted.relay_overflow_packets
    lost = sent - received
    low, high = interval(lost, sent, LOSS_CONFIDENCE)
    return LossMeasure(
        loss_ratio=way.loss_ratio,
        sent_packets=sent,
        lost_packets=lost,
        confidence=LOSS_CONFIDENCE,
        low_ratio=low,
        high_ratio=high,
        circumstances=lasted,
    )


def carried(lab: Lab, duration_ns: int) -> CarriedMeasure:
    """How many full frames a wire without a capacity carries from a sender that never waits."""
    link = lab.bare_link
    with measuring(lab, "carried", [link]) as here:
        with _sender(lab, link, FULL_FRAME_BYTES, None) as sender:
            sender.saturate(WARM_UP_NS)
            here.begin()
            before, began_ns = here.received_packets(link), clock.monotonic_ns()
            sender.saturate(duration_ns)
            packets = here.received_packets(link) - before
            elapsed_ns = clock.monotonic_ns() - began_ns
            lasted = here.end()
        lasted = here.close(lasted)
    return CarriedMeasure(
        packets_per_s=figures.rate_per_s(packets, elapsed_ns),
        packets=packets,
        circumstances=lasted,
    )


def _wait_until_still(here: Measuring, link: LinkRecord) -> None:
    """Returns when nothing has come for a while, longer than the link's queue and delay take."""
    pause_s = link.forward.delay_ns / NS_PER_S + 0.15
    count, before = here.received_packets(link), -1
    while count != before:
        time.sleep(pause_s)
        count, before = here.received_packets(link), count


NO_IPERF3: Final = "iperf3 is not installed"


def tcp(lab: Lab, duration_s: int) -> TcpMeasure | None:
    """Goodput of one TCP connection through a wire without a capacity; None without iperf3."""
    if locate("iperf3") is None:
        return None
    link = lab.bare_link
    way = link.forward
    address = lab.plan.node(way.receiver).addressing.address_of[way.receiver_interface]
    address = address.split("/")[0]
    with measuring(lab, "tcp", [link]) as here:
        server = subprocess.Popen(
            _in_node(way.receiver, "iperf3", "-s", "-1", "-B", address, "--forceflush"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for_words(server, b"listening", _IPERF3_S)
            here.begin()
            client = subprocess.run(
                _in_node(way.sender, "iperf3", "-c", address, "-J", "-t", str(duration_s)),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=duration_s + _IPERF3_S,
            )
            lasted = here.end()
        except subprocess.TimeoutExpired as error:
            raise RunError(f"iperf3 did not end: {error}", where="iperf3") from error
        finally:
            server.kill()
            server.communicate()
        lasted = here.close(lasted)
    return _read_iperf3(client.stdout, lasted)


def _in_node(node: str, *argv: str) -> list[str]:
    return [find_tool("nsenter"), f"--net=/run/netns/{node}", find_tool(argv[0]), *argv[1:]]


def wait_for_words(process: subprocess.Popen[bytes], words: bytes, within_s: float) -> None:
    """Returns when iperf3 has said `words`.

    Raises:
        RunError: it ended before, or has not said them in time; with what it said.
    """
    if process.stdout is None:
        raise ValueError("its output is not read")
    output = process.stdout.fileno()
    deadline = time.monotonic() + within_s
    said = b""
    while words not in said:
        left_s = deadline - time.monotonic()
        ready = left_s > 0 and select.select([output], [], [], left_s)[0]
        more = os.read(output, 4096) if ready else b""
        if not more:
            when = "" if ready else f" within {within_s:g} s"
            text = said.decode(errors="replace").strip() or "it said nothing"
            raise RunError(f"iperf3 did not start{when}: {text}", where="iperf3")
        said += more


def _read_iperf3(output: bytes, lasted: Circumstances) -> TcpMeasure:
    """What `iperf3 -J` says at its end.

    Raises:
        RunError: an error.
    """
    try:
        said = json.loads(output)
        return TcpMeasure(
            goodput_bit_s=float(said["end"]["sum_received"]["bits_per_second"]),
            retransmits=int(said["end"]["sum_sent"]["retransmits"]),
            circumstances=lasted,
        )
    except (ValueError, KeyError) as error:
        text = output.decode(errors="replace").strip()
        raise RunError(f"iperf3 failed: {text or 'it said nothing'}", where="iperf3") from error
