"""Rule: what a node is told of addresses and routes is the plan's, in order, and an IPv6 node says
nothing unasked.
"""

from __future__ import annotations

import pytest

from testbed.network import commands, read_back, sysctls
from testbed.network.plan import NetworkPlan
from testbed.network.topology import Topo
from tests.unit.plans import plan_of, through_router
from tests.unit.test_routing import balanced


def lines(plan: NetworkPlan, name: str) -> list[str]:
    macs = {i.name: i.mac for node in plan.nodes for i in node.interfaces}
    return commands.node_lines(plan, plan.node(name), macs, "reno")


def test_the_lines_of_an_ipv6_host() -> None:
    assert lines(plan_of(through_router, ip=6), "a") == [
        "link set lo up",
        "link set a-eth0 address 02:00:00:00:01:01 arp off multicast off",
        "addr add fd00:0:a00::1/64 dev a-eth0 noprefixroute nodad",
        "link set a-eth0 up",
        "route add fd00:0:a00::/64 dev a-eth0 congctl reno",
        "route add fd00:0:a00:100::/64 via fd00:0:a00::2 dev a-eth0 congctl reno",
        "neigh add fd00:0:a00::2 lladdr 02:00:00:00:01:02 dev a-eth0 nud permanent",
    ]


def test_the_lines_of_an_ipv4_host_keep_arp() -> None:
    assert lines(plan_of(through_router), "a")[:4] == [
        "link set lo up",
        "link set a-eth0 address 02:00:00:00:01:01",
        "addr add 10.0.0.1/24 dev a-eth0 noprefixroute",
        "link set a-eth0 up",
    ]


@pytest.mark.parametrize(
    ("ip", "prefix", "first", "second"),
    [
        (4, "10.100.0.1/32", "10.1.1.1", "10.1.2.1"),
        (6, "fd00:0:a64:1::1/128", "fd00:0:a01:100::1", "fd00:0:a01:200::1"),
    ],
)
def test_several_ways_are_one_route_that_is_hashed_by_addresses_and_ports(
    ip: int, prefix: str, first: str, second: str
) -> None:
    plan = plan_of(balanced(), ip=ip)
    assert (
        f"route add {prefix} congctl reno "
        f"nexthop via {first} dev lb-eth1 nexthop via {second} dev lb-eth2"
    ) in lines(plan, "lb")
    policy = f"net.ipv{ip}.fib_multipath_hash_policy"
    assert sysctls.sysctls_of(plan, plan.node("lb"))[policy] == "1"
    assert policy not in sysctls.sysctls_of(plan, plan.node("client"))
    assert f"addr add {prefix} dev lo noprefixroute" in lines(plan, "s1")
    hops = [{"gateway": via, "dev": f"lb-eth{n}"} for n, via in ((1, first), (2, second))]
    shown = {"dst": prefix.split("/")[0], "metrics": [{"congestion": "reno"}], "nexthops": hops}
    found = [
        {"dst": r.prefix, "dev": r.interface, "metrics": [{"congestion": "reno"}]}
        for r in plan.node("lb").addressing.routes
        if r.via is None
    ]
    read_back.check_routes(plan.node("lb"), [*found, shown], "reno")


def test_a_router_forwards_ipv6_only_when_its_interfaces_are_quiet() -> None:
    four, six = plan_of(through_router), plan_of(through_router, ip=6)
    assert "net.ipv6.conf.all.forwarding" not in sysctls.sysctls_of(six, six.node("r"))
    later = {"net.ipv6.conf.all.forwarding": "1"}
    assert sysctls.later_sysctls_of(six, six.node("r")) == later
    assert sysctls.later_sysctls_of(six, six.node("a")) == {}
    assert sysctls.later_sysctls_of(four, four.node("r")) == {}


def test_a_switch_never_speaks_ipv6() -> None:
    def build(topo: Topo) -> None:
        topo.addHost("a")
        topo.addHost("b")
        topo.addSwitch("s1")
        topo.addLink("a", "s1")
        topo.addLink("s1", "b")

    plan = plan_of(build, ip=6)
    assert sysctls.sysctls_of(plan, plan.node("s1"))["net.ipv6.conf.all.disable_ipv6"] == "1"
    assert sysctls.sysctls_of(plan, plan.node("a"))["net.ipv6.conf.all.disable_ipv6"] == "0"
    assert not any("arp off" in line for line in lines(plan, "s1"))
