r"""The network that is measured, built as a run builds its own.

    client ---- r1 ====10 Mbit/s, 10 ms==== r2 ---- server
                   ====10 Mbit/s,  1 ms====
                   ====10 Mbit/s, 50 ms====            the delays
                   ====1, 10, 100, ... Mbit/s====      the rates, a link each
                   ====20 Mbit/s, 1 %====              the loss
                   ====no capacity====                 what is carried

Requests take the first of the links between the routers (the shortest way, ties by order). All
other frames are sent at r1's own interfaces and looked at when they come to r2's.

Each measurement has a relay of its own that serves only the links that are measured then: what a
link does must not depend on how many others wait beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.calibration.record import BackendName
from testbed.network.build import Network, build
from testbed.network.plan import NetworkPlan, make_plan
from testbed.network.topology import Topo
from testbed.recording.manifest import LinkRecord
from testbed.scenario import Load, Scenario
from testbed.units import NS_PER_MS

SENDER: Final = "r1"
RECEIVER: Final = "r2"
MBIT: Final = 10**6
DELAYS_NS: Final = (10 * NS_PER_MS, 1 * NS_PER_MS, 50 * NS_PER_MS)
DELAY_CAPACITY_BIT_S: Final = 10 * MBIT
RATES_BIT_S: Final = (1 * MBIT, 10 * MBIT, 100 * MBIT, 500 * MBIT, 1000 * MBIT)
LOSS_PERCENT: Final = 1
LOSS_CAPACITY_BIT_S: Final = 20 * MBIT
QUEUE_PACKETS: Final = 20_000
"""More than the senders have under way at once, so that no queue drops."""
CONGESTION_CONTROL: Final = "cubic"


class CalibrationTopo(Topo):  # type: ignore[misc]  # mininet has no types
    """The drawing above."""

    def build(self) -> None:
        """Adds nodes and links; takes no options."""
        self.addHost("client", role="client")
        self.addNode(SENDER, role="router")
        self.addNode(RECEIVER, role="router")
        self.addHost("server", role="server")
        self.addLink("client", SENDER)
        self.addLink("server", RECEIVER)
        for settings in _link_settings():
            self.addLink(SENDER, RECEIVER, **settings)


def _link_settings() -> list[dict[str, str]]:
    queue = f"{QUEUE_PACKETS}p"
    shaped = [
        {"capacity": f"{DELAY_CAPACITY_BIT_S}bit", "delay": f"{delay}ns", "queue": queue}
        for delay in DELAYS_NS
    ]
    shaped += [
        {"capacity": f"{capacity}bit", "delay": "1ms", "queue": queue} for capacity in RATES_BIT_S
    ]
    capacity, loss = f"{LOSS_CAPACITY_BIT_S}bit", f"{LOSS_PERCENT}%"
    return [
        *shaped,
        {"capacity": capacity, "delay": "1ms", "queue": queue, "loss": loss},
        {"delay": "1ms"},
    ]


@dataclass(frozen=True, slots=True)
class Lab:
    """The network, and where its measurements keep their files meanwhile."""

    network: Network
    wire: BackendName
    root: Path
    relay_cpu: int | None

    @property
    def plan(self) -> NetworkPlan:
        """Of the whole network."""
        return self.network.plan

    def _links(self) -> list[LinkRecord]:
        return [link for link in self.plan.links if link.wire == self.wire]

    @property
    def delay_links(self) -> list[LinkRecord]:
        """One for each of DELAYS_NS."""
        return self._links()[: len(DELAYS_NS)]

    @property
    def rate_links(self) -> list[LinkRecord]:
        """One for each of RATES_BIT_S."""
        return self._links()[len(DELAYS_NS) : len(DELAYS_NS) + len(RATES_BIT_S)]

    @property
    def loss_link(self) -> LinkRecord:
        """The one that loses packets."""
        return self._links()[-2]

    @property
    def bare_link(self) -> LinkRecord:
        """The one without a capacity."""
        return self._links()[-1]

    def mac_of(self, node: str, interface: str) -> str:
        """The address of an interface."""
        return next(i.mac for i in self.plan.node(node).interfaces if i.name == interface)


def scenario(load: Load | None = None) -> Scenario:
    """The scenario of the network, for what asks for one."""
    return Scenario(topology="calibration", load=load or Load(), app="hello")


def build_lab(wire: BackendName, root: Path, relay_cpu: int | None) -> Lab:
    """Builds the network inside this sandbox.

    Raises:
        TestbedError: it cannot be built.
    """
    plan = make_plan(CalibrationTopo(), scenario(), wire)
    return Lab(build(plan, CONGESTION_CONTROL), wire, root, relay_cpu)
