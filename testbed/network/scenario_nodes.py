"""Which settings of nodes in a scenario are whose. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from testbed.errors import Problem
from testbed.scenario.names import did_you_mean
from testbed.scenario.nodes import NodeSettings

_RUNNING: Final = frozenset({"client", "server"})
"""Roles of nodes that processes of the run live in."""


def of_node(given: Mapping[str, NodeSettings], name: str, role: str) -> NodeSettings:
    """The settings of a node: those of its name over those of its role."""
    return given.get(name, NodeSettings()).over(given.get(role, NodeSettings()))


def problems(given: Mapping[str, NodeSettings], roles: Mapping[str, str]) -> list[Problem]:
    """Settings of nodes that are not there, and of descriptors where nobody would have any.

    Args:
        given: the scenario's, by name or role.
        roles: of all nodes, by name.
    """
    found = []
    known = [*dict.fromkeys([*roles, *roles.values()])]
    for name, settings in given.items():
        where = f'nodes."{name}"'
        if name not in known:
            listed = ", ".join(known)
            message = f"the topology has no such node, and none of that role (it has: {listed})"
            found.append(Problem(where, message + did_you_mean(name, known)))
        elif settings.descriptors is not None and roles.get(name, name) not in _RUNNING:
            message = "only servers and clients have processes to limit"
            found.append(Problem(f"{where}.descriptors", message))
    return found
