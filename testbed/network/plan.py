"""What will be built: nodes, links and settings in base units, from a `Topo` and a scenario.

Pure: no I/O.

What a `Topo` may say, beyond plain Mininet:

- of a node: ``role="client" | "server" | "router"`` and what else is in
  `testbed.network.node_settings`. Without any role the first host is the client and the last one
  the server; a node whose class or name says Router, or that has ``ip_forward``, is a router.
- of a link: ``bottleneck=True | "forward" | "reverse"`` (forward: from its first node to its
  second) and the settings of a scenario's link (``capacity="10mbit"``, ``loss="1%"`` ...), for both
  directions, or in ``forward={...}`` and ``reverse={...}`` for one. Parameters of Mininet's
  `TCLink` mean the same as there (`testbed.network.tclink`).

A scenario's `link` applies to the directions marked as bottleneck, its `links` to both directions
of the link named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from testbed.errors import Problem, ScenarioError
from testbed.network import directions as directions_of
from testbed.network import (
    link_settings,
    node_settings,
    plan_checks,
    reachability,
    scenario_nodes,
)
from testbed.network.addressing import Attachment, Said, assign
from testbed.network.node_settings import Spread
from testbed.network.planned import InterfacePlan, NetworkPlan, NodePlan, Role
from testbed.network.topology import Topo
from testbed.recording.manifest import Direction, LinkRecord, ScheduledChange
from testbed.scenario import Link, Scenario, notation
from testbed.scenario.model import DIRECTIONS, DirectionName, Way

ROLES: Final = ("client", "server", "router", "host")


def make_plan(topo: Topo, scenario: Scenario, wire: Literal["relay", "kernel"]) -> NetworkPlan:
    """The plan of `topo` under `scenario`, with `wire` in the middle of each link that needs one.

    Raises:
        ScenarioError: with all problems of the topology and of the scenario's link settings.
    """
    return _Planner(topo, scenario, wire).plan()


class _Planner:
    def __init__(self, topo: Topo, scenario: Scenario, wire: Literal["relay", "kernel"]) -> None:
        self.topo = topo
        self.scenario = scenario
        self.wire: Literal["relay", "kernel"] = wire
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        # Mininet's convertTo keeps the order of addNode and addLink only when unsorted.
        self.names: list[str] = plan_checks.names_of(topo)
        self.edges: list[tuple[str, str, dict[str, Any]]] = [
            (info["node1"], info["node2"], info)
            for _, _, _, info in topo.links(sort=False, withKeys=True, withInfo=True)
        ]

    def plan(self) -> NetworkPlan:
        roles = self._roles()
        said, spreads = self._said(roles)
        links = [self._link(index, *edge) for index, edge in enumerate(self.edges)]
        plan_checks.check_nodes(self.topo, self.names, self.edges, self._problem)
        plan_checks.check_interfaces(roles, links, self._problem)
        plan_checks.check_scenario(self.scenario, links, self._problem)
        if self.scenario.switches != "bridge" and "switch" not in roles.values():
            self._problem("switches", f"the topology {self.scenario.topology} has no switch")
        self.problems += scenario_nodes.problems(self.scenario.nodes, roles)
        if self.problems:
            raise ScenarioError(self.problems)
        macs = self._macs()
        if self.problems:
            raise ScenarioError(self.problems)
        interfaces = [
            pair for index, link in enumerate(links) for pair in _interfaces(index, link, macs)
        ]
        given = self._given("ip")
        attachments = [
            Attachment(plan.node, plan.name, plan.link, given.get(plan.name)) for plan in interfaces
        ]
        addressing = assign(roles, attachments, self.scenario.ip, said)
        interfaces_of: dict[str, list[InterfacePlan]] = {name: [] for name in self.names}
        for interface in interfaces:
            interfaces_of[interface.node].append(interface)
        nodes = tuple(
            NodePlan(
                name=name,
                role=roles[name],
                interfaces=tuple(interfaces_of[name]),
                addressing=addressing[name],
                settings=scenario_nodes.of_node(self.scenario.nodes, name, roles[name]),
                spread=spreads[name],
            )
            for name in self.names
        )
        self._warn(links, roles)
        plan = NetworkPlan(
            nodes, tuple(links), tuple(self.warnings), self.scenario.ip, self.scenario.switches
        )
        asked = {client.name: plan.asked_by(client.name) for client in plan.with_role("client")}
        if apart := reachability.problems(addressing, asked):
            raise ScenarioError(apart)
        return plan

    def _said(self, roles: Mapping[str, Role]) -> tuple[Said, dict[str, Spread]]:
        """What the topology says of its nodes."""
        routes, services, spreads = {}, {}, {}
        for name in self.names:
            info = self.topo.nodeInfo(name)
            node_settings.check_keys(name, info, roles[name], self._problem, self._warning)
            if (given := node_settings.routes_of(name, info, self._problem)) is not None:
                routes[name] = given
            if service := node_settings.service_of(name, roles[name], info, self._problem):
                services[name] = service
            spreads[name] = node_settings.spread_of(name, info, self._problem)
        return Said(routes, services), spreads

    def _roles(self) -> dict[str, Role]:
        roles: dict[str, Role] = {}
        for name in self.names:
            info = self.topo.nodeInfo(name)
            role = info.get("role")
            if info.get("isSwitch"):
                roles[name] = "switch"
            elif role is None:
                roles[name] = "router" if node_settings.looks_like_router(name, info) else "host"
            elif role in ROLES:
                roles[name] = role
            else:
                roles[name] = "host"  # so that one wrong word is one problem
                self._problem(
                    f"node {name}: role", f'expected one of {", ".join(ROLES)} (got "{role}")'
                )
        hosts = [name for name in self.names if roles.get(name) == "host"]
        for missing, pick in (("client", 0), ("server", -1)):
            if missing in roles.values():
                continue
            if not hosts:
                self._problem("topology", f"no node is a {missing}, and no host is left to be one")
            else:
                roles[hosts.pop(pick)] = missing  # type: ignore[assignment]
        return roles

    def _link(self, index: int, a: str, b: str, info: Mapping[str, Any]) -> LinkRecord:
        name = f"{a}-{b}"
        if sum({x, y} == {a, b} for x, y, _ in self.edges[:index]):
            name += f"-{index}"
        link_settings.check_keys(name, info, self._problem)
        marked = self._marked(name, info.get("bottleneck"))
        names = (
            info.get("intfName1") or f"{a}-eth{info['port1']}",
            info.get("intfName2") or f"{b}-eth{info['port2']}",
        )
        ends = ((a, names[0], b, names[1]), (b, names[1], a, names[0]))
        directions = []
        schedule: list[ScheduledChange] = []
        needs_wire = bool(marked)
        for way, (sender, sender_if, receiver, receiver_if) in zip(DIRECTIONS, ends, strict=True):
            where = f"{name}.{way}"
            own = link_settings.of_direction(name, way, sender, info, self._problem, self._warning)
            if way in marked:
                own = self.scenario.link.of(way).over(own)
            own = self.scenario.links.get(name, Link()).of(way).over(own)
            bare = Direction(
                sender=sender,
                sender_interface=sender_if,
                receiver=receiver,
                receiver_interface=receiver_if,
                bottleneck=way in marked,
            )
            settled = directions_of.settle(bare, own, self._teller(where))
            self._check_variation(where, settled)
            directions.append(settled)
            schedule += self._schedule(where, way, settled, own)
            needs_wire = needs_wire or directions_of.needs_wire(own)
        forward, reverse = directions
        if needs_wire and self.wire == "kernel":
            self._check_kernel(name, directions, schedule)
        return LinkRecord(
            name=name,
            wire=self.wire if needs_wire else "direct",
            bottleneck=bool(marked),
            forward=forward,
            reverse=reverse,
            schedule=tuple(sorted(schedule, key=lambda change: change.at_ns)),
        )

    def _schedule(
        self, where: str, way: DirectionName, start: Direction, own: Way
    ) -> list[ScheduledChange]:
        """The changes of one direction, each with all that it has from then on."""
        found = []
        now = start
        for text in own.schedule or ():
            at_ns, settings = notation.split_scheduled(text)
            at = " ".join(text.partition(":")[0].split())
            tell = self._teller(f"{where}: {at}")
            now = directions_of.changed(now, Way.from_text(settings), tell)
            self._check_variation(f"{where}: {at}", now)
            found.append(
                ScheduledChange(at_ns=at_ns, direction=way, text=settings.strip(), settings=now)
            )
        return found

    def _check_variation(self, where: str, way: Direction) -> None:
        clamped = directions_of.clamped_ratio(way)
        if clamped > 0:
            self._warning(
                f"link {where}: {clamped:.1%} of the packets would leave before they came by this "
                "delay_variation: they are not delayed at all; a longer delay avoids it"
            )

    def _check_kernel(
        self, name: str, ways: Sequence[Direction], schedule: Sequence[ScheduledChange]
    ) -> None:
        """What netem cannot do, each setting once."""
        told = set()
        for way in (*ways, *(change.settings for change in schedule)):
            for setting, why in directions_of.kernel_refusals(way):
                if setting not in told:
                    told.add(setting)
                    self._problem(
                        f"link {name}: {setting}",
                        f"the kernel backend cannot do it: {why} (--link-backend relay can)",
                    )

    def _teller(self, where: str) -> Callable[[str, str], None]:
        """What takes a setting and what is wrong with it."""
        return lambda setting, message: self._problem(f"link {where}: {setting}", message)

    def _marked(self, name: str, mark: object) -> tuple[str, ...]:
        """The directions that a topology marks as bottleneck."""
        if mark in (None, False):
            return ()
        if mark in (True, "both"):
            return ("forward", "reverse")
        if mark in ("forward", "reverse"):
            return (str(mark),)
        self._problem(
            f"link {name}: bottleneck", f'expected True, "forward" or "reverse" (got {mark!r})'
        )
        return ()

    def _warn(self, links: Sequence[LinkRecord], roles: Mapping[str, Role]) -> None:
        for link in links:
            for way in (link.forward, link.reverse):
                if (
                    way.queue is not None
                    and way.trace is None
                    and roles[way.sender] not in ("router", "switch")
                ):
                    self._warning(
                        f"the capacity of {way.sender_interface} stands on a host's own interface: "
                        "a packet that its queue drops tells the host's TCP at once, "
                        "as no network would"
                    )
        for name, role in roles.items():
            most = scenario_nodes.of_node(self.scenario.nodes, name, role).accept_queue
            if role == "server" and most is not None and most < self.scenario.backlog:
                self._warning(
                    f"{name}: net.core.somaxconn cuts the backlog of {self.scenario.backlog} to "
                    f"{most} (listen(2))"
                )

    def _macs(self) -> dict[str, str]:
        """The MAC addresses that the `Topo` gives, by interface."""
        found: dict[str, str] = {}
        for name, text in self._given("mac").items():
            mac = node_settings.mac_of(text, f"MAC address of {name}", self._problem)
            if mac in found.values():
                self._problem(f"MAC address of {name}", f"{mac} is another interface's as well")
            found[name] = mac
        return found

    def _given(self, key: str) -> dict[str, str]:
        """What the `Topo` says, by interface: the link's params, or the node's for its first."""
        ends = [
            (node, info[f"port{side}"], info.get(f"intfName{side}"), info.get(f"params{side}"))
            for a, b, info in self.edges
            for node, side in ((a, 1), (b, 2))
        ]
        first: dict[str, int] = {}
        for node, port, _, _ in ends:
            first[node] = min(port, first.get(node, port))
        given = {}
        for node, port, name, params in ends:
            found = link_settings.table(params).get(key)
            if found is None and port == first[node]:
                found = self.topo.nodeInfo(node).get(key)
            if found is not None:
                given[name or f"{node}-eth{port}"] = str(found)
        return given

    def _problem(self, where: str, message: str) -> None:
        problem = Problem(where, message)
        if problem not in self.problems:  # what both directions have is one problem
            self.problems.append(problem)

    def _warning(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _interfaces(
    index: int, link: LinkRecord, macs: Mapping[str, str]
) -> tuple[InterfacePlan, InterfacePlan]:
    # Locally administered (second bit of the first byte, IEEE 802-2014 8.4); the same in each run.
    high, low = divmod(index + 1, 256)
    first, second = (
        InterfacePlan(
            node=way.sender,
            name=way.sender_interface,
            mac=macs.get(way.sender_interface) or f"02:00:00:{high:02x}:{low:02x}:{side:02x}",
            link=link.name,
        )
        for side, way in ((1, link.forward), (2, link.reverse))
    )
    return first, second


__all__ = [
    "InterfacePlan",
    "NetworkPlan",
    "NodePlan",
    "Role",
    "make_plan",
    "replace",
]
