"""Checks of a topology's names and links, and of what a scenario says of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from testbed.errors import Problem, ScenarioError, shown
from testbed.network.topology import Topo, added_twice
from testbed.recording.manifest import LinkRecord
from testbed.scenario import Link, Scenario
from testbed.scenario.model import DIRECTIONS, Way
from testbed.scenario.names import did_you_mean

_INTERFACE_NAME_BYTES: Final = 15
"""IFNAMSIZ - 1, include/uapi/linux/if.h."""

OnProblem = Callable[[str, str], None]
"""Is told a place and what is wrong there."""


def names_of(topo: Topo) -> list[str]:
    """The nodes of a topology, in the order of addNode.

    Raises:
        ScenarioError: a name is no text.
    """
    names = list(topo.nodes(sort=False))
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ScenarioError(
            [
                Problem(f"node {name!r}", f"a name must be text (got {shown(name)})")
                for name in wrong
            ]
        )
    return names


def check_nodes(
    topo: Topo,
    names: Sequence[str],
    edges: Sequence[tuple[str, str, Mapping[str, Any]]],
    problem: OnProblem,
) -> None:
    """Tells of names that cannot be, nodes without a link, and links that lead nowhere."""
    for name in added_twice(topo):
        problem(f"node {name}", "is added twice: Mininet makes one node of both")
    linked = {name for a, b, _ in edges for name in (a, b)}
    for name in names:
        if "/" in name or not name.isprintable() or " " in name or not name:
            problem(f"node {name!r}", "a name must have no slash, space or control character")
        if name not in linked:
            problem(f"node {name}", "is connected to nothing")
    for a, b, _ in edges:
        if a == b:
            problem(f"node {a}", "is linked to itself")


def check_interfaces(
    roles: Mapping[str, str], links: Sequence[LinkRecord], problem: OnProblem
) -> None:
    """Tells of names of interfaces that are too long or used twice; a bridge is an interface."""
    seen = {"lo"}
    for name in (name for name, role in roles.items() if role == "switch"):
        if len(name.encode()) > _INTERFACE_NAME_BYTES:
            problem(
                f"node {name}",
                f"the name of a switch has at most {_INTERFACE_NAME_BYTES} bytes: it is a bridge's",
            )
        seen.add(name)
    for link in links:
        if link.forward.sender == link.forward.receiver:
            continue  # that is one problem already
        for way in (link.forward, link.reverse):
            name = way.sender_interface
            if len(name.encode()) > _INTERFACE_NAME_BYTES:
                problem(
                    f"link {link.name}",
                    f'interface name "{name}" is longer than {_INTERFACE_NAME_BYTES} bytes: '
                    "give the node a shorter name",
                )
            if name in seen:
                problem(f"link {link.name}", f'interface name "{name}" is used twice')
            seen.add(name)


def check_scenario(scenario: Scenario, links: Sequence[LinkRecord], problem: OnProblem) -> None:
    """Tells of links that a scenario names and that are none, and of settings for no link."""
    known = [link.name for link in links]
    for name in scenario.links:
        if name not in known:
            problem(
                f'links."{name}"',
                f"the topology has no such link (it has: {', '.join(known)})"
                f"{did_you_mean(name, known)}",
            )
    if scenario.link != Link() and not any(link.bottleneck for link in links):
        link = scenario.link
        given = [*link.given(), *(way for way in DIRECTIONS if link.of_alone(way) != Way())]
        problem(
            given[0],
            f"the topology {scenario.topology} marks no link as bottleneck, so it applies "
            "to none; mark one (addLink(..., bottleneck=True)) or name links in a scenario "
            f'file ([links."{known[0] if known else "a-b"}"])',
        )
