"""One measurement under way: its relay, its captures, and what else the machine does meanwhile.

with measuring(lab, "rate", [link]) as here:
    here.start_captures("r2")
    here.begin()
    ...                                      the traffic
    circumstances = here.close(here.end())
    frames = here.seen("r2", "r2-eth1")
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from testbed import clock
from testbed.analysis.captures import read_capture
from testbed.analysis.decode.link import DELIVERED, link_records
from testbed.calibration.figures import spread
from testbed.calibration.lab import Lab
from testbed.calibration.record import Circumstances, Spread
from testbed.calibration.traffic import ETHERTYPE
from testbed.live import machine, observers
from testbed.live.processes import ManagedProcess, Processes
from testbed.network.carrier import wait_until_up
from testbed.network.counters import RX_PACKETS, TX_DROPPED, counter
from testbed.network.plan import NetworkPlan
from testbed.recording.layout import Layout, create, finish_partials
from testbed.recording.manifest import LinkRecord
from testbed.recording.segments import Segment
from testbed.scenario.probes import parse_probes
from testbed.units import NS_PER_S

_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of the calibration that a capture saw, in the order of the file."""

    t_ns: npt.NDArray[np.int64]
    """CLOCK_REALTIME of the kernel."""
    size_bytes: npt.NDArray[np.int64]
    key: npt.NDArray[np.int64]
    """The same at both ends of a link, and another for each frame that one sender sends."""
    missed_packets: int
    """What the capture says it dropped, of all interfaces."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """Counters at one moment."""

    at_ns: int
    cpu: machine.CpuTimes
    relay_cpu_ns: int
    ring_dropped: int


class Measuring:
    """What `measuring` gives."""

    def __init__(self, lab: Lab, layout: Layout, processes: Processes, plan: NetworkPlan) -> None:
        self.lab = lab
        self.layout = layout
        self.processes = processes
        self.plan = plan
        """With no other links than those that are measured."""
        self._began: _Reading | None = None

    @property
    def _relay(self) -> ManagedProcess | None:
        return next(iter(self.processes.of_kind("relay")), None)

    @property
    def scheduler(self) -> str | None:
        """The relay's; None without one."""
        return None if self._relay is None else str(self._relay.about["scheduler"])

    def start_captures(self, *nodes: str) -> None:
        """Captures the links that are measured, at these nodes."""
        plan = self.plan
        watched = replace(plan, nodes=tuple(node for node in plan.nodes if node.name in nodes))
        observers.start_captures(self.processes, self.layout, watched, parse_probes("captures"))
        observers.wait_for_captures(self.processes)

    def begin(self) -> None:
        """The traffic begins."""
        self._began = self._read()

    def end(self) -> Circumstances:
        """The traffic has ended; what else there was while it went on."""
        began, ended = self._began, self._read()
        if began is None:
            raise ValueError("it has not begun")
        lasted_ns = ended.at_ns - began.at_ns
        shares = machine.shares(began.cpu, ended.cpu)
        relay_ns = ended.relay_cpu_ns - began.relay_cpu_ns
        return Circumstances(
            duration_ns=lasted_ns,
            stolen_cpu_ratio=shares[0] if shares else None,
            busy_cpu_ratio=shares[1] if shares else None,
            relay_cpu_ratio=None if self._relay is None else relay_ns / lasted_ns,
            relay_overflow_packets=ended.ring_dropped - began.ring_dropped,
        )

    def close(self, lasted: Circumstances) -> Circumstances:
        """Ends captures and relay; adds what the relay logged to what `end` returned.

        Raises:
            TestbedError: one of them did not end well.
        """
        plan = self.lab.plan
        observers.bring_captures_up_to_date(self.processes, self.layout, plan, failed=False)
        for capture in self.processes.end("capture"):
            raise capture.died("with an error")
        observers.end_relay(self.processes)
        finish_partials(self.layout)
        if self._relay is None:
            return lasted
        written = self._relay.about.items()
        overflowed = sum(int(value) for name, value in written if name.endswith(".overflowed"))
        return msgspec.structs.replace(
            lasted,
            relay_lateness=self._lateness(),
            relay_overflow_packets=lasted.relay_overflow_packets + overflowed,
        )

    def _lateness(self) -> Spread | None:
        late = []
        for link in self.plan.links:
            records = link_records(Segment(self.layout.segment(f"link.{link.name}")))
            delivered = records[records["fate"] == DELIVERED]
            late.append(delivered["departure_ns"] - delivered["due_ns"])
        return spread(np.concatenate(late)) if late else None

    def seen(self, node: str, interface: str) -> Frames:
        """The calibration's own frames that were captured at an interface; after `close`."""
        capture = read_capture(self.layout.capture(node))
        numbers = [n for n, i in enumerate(capture.interfaces) if i.name == interface]
        packets = capture.packets
        rows = np.isin(packets.interface, numbers) & (packets.ethertype == ETHERTYPE)
        return Frames(
            packets.t_ns[rows],
            packets.size[rows].astype(np.int64),
            packets.digest[rows].astype(np.int64),
            sum(i.dropped_packets or 0 for i in capture.interfaces),
        )

    def received_packets(self, link: LinkRecord) -> int:
        """How many packets have come out of the forward direction of a link so far."""
        way = link.forward
        return counter(way.receiver, way.receiver_interface, RX_PACKETS)

    def _read(self) -> _Reading:
        ways = [way for link in self.plan.links for way in (link.forward, link.reverse)]
        dropped = sum(counter(way.sender, way.sender_interface, TX_DROPPED) for way in ways)
        relay = self._relay
        used_ns = 0 if relay is None else _cpu_ns(relay.popen.pid)
        return _Reading(clock.monotonic_ns(), machine.cpu_times(), used_ns, dropped)


@contextmanager
def measuring(lab: Lab, name: str, links: Sequence[LinkRecord]) -> Iterator[Measuring]:
    """A relay for `links` and a folder for one measurement; both are gone afterwards.

    Raises:
        TestbedError: the relay did not start, or the links did not come up.
    """
    layout = create(lab.root / name)
    plan = replace(lab.plan, links=tuple(links))
    try:
        with Processes(layout) as processes:
            observers.start_relay(processes, layout, plan, _SEED, lab.relay_cpu)
            wait_until_up(plan)
            yield Measuring(lab, layout, processes, plan)
    finally:
        shutil.rmtree(layout.root)


def _cpu_ns(process_id: int) -> int:
    """CPU time of a process so far, in user and kernel (proc(5), stat)."""
    text = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii", errors="replace")
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) * NS_PER_S // os.sysconf("SC_CLK_TCK")
