"""Small topologies and their plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest

from testbed.errors import ScenarioError
from testbed.network.plan import NetworkPlan, make_plan
from testbed.network.topology import Topo
from testbed.scenario import Scenario

Build = Callable[[Topo], object]
MS = 1_000_000


def made(build: Build) -> Topo:
    topo = Topo()
    build(topo)
    return topo


def planned(wire: Literal["relay", "kernel"], build: Build, **fields: Any) -> NetworkPlan:
    return make_plan(made(build), Scenario(topology="t", **fields), wire)


def plan_of(build: Build, **fields: Any) -> NetworkPlan:
    return planned("relay", build, **fields)


def problems_of(build: Build, **fields: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        plan_of(build, **fields)
    return [str(problem) for problem in caught.value.problems]


def pair(topo: Topo, **link: Any) -> Topo:
    """Two hosts and a link."""
    topo.addHost("a")
    topo.addHost("b")
    topo.addLink("a", "b", **link)
    return topo


def through_router(topo: Topo, **link: Any) -> None:
    topo.addHost("a")
    topo.addHost("r", ip_forward=True)
    topo.addHost("b")
    topo.addLink("a", "r")
    topo.addLink("r", "b", **link)
