"""Rule: the network that is measured is one that a run could have, and requests take its first
link.
"""

from __future__ import annotations

import pytest

from testbed.calibration.lab import (
    DELAYS_NS,
    RATES_BIT_S,
    RECEIVER,
    SENDER,
    CalibrationTopo,
    scenario,
)
from testbed.calibration.record import BACKENDS, BackendName
from testbed.network.plan import NetworkPlan, make_plan


def plan_by(wire: BackendName) -> NetworkPlan:
    return make_plan(CalibrationTopo(), scenario(), wire)


@pytest.mark.parametrize("wire", BACKENDS)
def test_both_backends_can_do_it_and_nobody_is_warned(wire: BackendName) -> None:
    plan = plan_by(wire)
    assert plan.warnings == ()
    assert [link.wire for link in plan.links].count("direct") == 2
    wired = [link.forward for link in plan.links if link.wire == wire]
    assert [way.delay_ns for way in wired[:3]] == list(DELAYS_NS)
    assert [way.capacity_bit_s for way in wired[3:8]] == list(RATES_BIT_S)
    assert [way.loss_ratio for way in wired] == [0.0] * 8 + [0.01, 0.0]
    assert wired[-1].capacity_bit_s is None
    assert {(way.sender, way.receiver) for way in wired} == {(SENDER, RECEIVER)}


def test_capacities_ascend_so_that_a_quick_calibration_has_the_lowest() -> None:
    assert list(RATES_BIT_S) == sorted(RATES_BIT_S)


@pytest.mark.parametrize(("node", "to"), [(SENDER, "server"), (RECEIVER, "client")])
def test_requests_take_the_first_delay_link(node: str, to: str) -> None:
    plan = plan_by("relay")
    first = next(link for link in plan.links if link.wire == "relay")
    network = plan.address(to).rpartition(".")[0]
    (route,) = (r for r in plan.node(node).addressing.routes if r.prefix.startswith(f"{network}."))
    ends = {way.sender_interface for way in (first.forward, first.reverse)}
    assert route.interface in ends
