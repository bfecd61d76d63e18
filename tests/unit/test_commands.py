"""Rule: what a node is told of addresses and routes is the plan's, in order, and an IPv6 node says
nothing unasked.
"""

from __future__ import annotations

import pytest

from testbed.network.commands import node_lines
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.sysctls import forwarding, sysctls_of
from tests.unit.plans import plan_of, through_router
from tests.unit.test_routing import balanced


def lines(plan: NetworkPlan, node: NodePlan, congestion_control: str) -> list[str]:
    macs = {i.name: i.mac for one in plan.nodes for i in one.interfaces}
    made = node_lines(plan, node, macs, congestion_control)
    return [line for line in made if not line.startswith("tuntap")]


def test_the_lines_of_an_ipv6_host() -> None:
    plan = plan_of(through_router, ip=6)
    assert lines(plan, plan.node("a"), "cubic") == [
        "link set lo up",
        "link set a-eth0 address 02:00:00:00:01:01 arp off multicast off",
        "addr add fd00:0:a00::1/64 dev a-eth0 noprefixroute nodad",
        "link set a-eth0 up",
        "route add fd00:0:a00::/64 dev a-eth0 congctl cubic",
        "route add fd00:0:a00:100::/64 via fd00:0:a00::2 dev a-eth0 congctl cubic",
        "neigh add fd00:0:a00::2 lladdr 02:00:00:00:01:02 dev a-eth0 nud permanent",
    ]


def test_the_lines_of_an_ipv4_host_keep_arp() -> None:
    plan = plan_of(through_router)
    assert lines(plan, plan.node("a"), "reno")[:4] == [
        "link set lo up",
        "link set a-eth0 address 02:00:00:00:01:01",
        "addr add 10.0.0.1/24 dev a-eth0 noprefixroute",
        "link set a-eth0 up",
    ]


@pytest.mark.parametrize("ip", [4, 6])
def test_several_ways_are_one_route_that_is_hashed_by_addresses_and_ports(ip: int) -> None:
    plan = plan_of(balanced(), ip=ip)
    prefix, first, second = {
        4: ("10.100.0.1/32", "10.1.1.1", "10.1.2.1"),
        6: ("fd00:0:a64:1::1/128", "fd00:0:a01:100::1", "fd00:0:a01:200::1"),
    }[ip]
    lb = plan.node("lb")
    assert (
        f"route add {prefix} congctl cubic "
        f"nexthop via {first} dev lb-eth1 nexthop via {second} dev lb-eth2"
    ) in lines(plan, lb, "cubic")
    policy = f"net.ipv{ip}.fib_multipath_hash_policy"
    assert sysctls_of(plan, lb)[policy] == "1"
    assert policy not in sysctls_of(plan, plan.node("client"))
    (service,) = (x for x in lines(plan, plan.node("s1"), "cubic") if x.endswith("dev lo"))
    assert service == f"addr add {prefix} dev lo"


def test_a_router_forwards_ipv6_only_when_its_interfaces_are_there() -> None:
    plan = plan_of(through_router, ip=6)
    assert sysctls_of(plan, plan.node("r"))["net.ipv6.conf.all.forwarding"] == "0"
    assert forwarding(plan, plan.node("r")) == {"net.ipv6.conf.all.forwarding": "1"}
    assert forwarding(plan, plan.node("a")) == {}
    assert "net.ipv6.conf.all.forwarding" not in sysctls_of(plan_of(through_router), plan.node("r"))
