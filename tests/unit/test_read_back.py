"""Rule: what the tools read back of a node is what was planned, and each difference is said with
the place, what was wanted and what was got."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from testbed.errors import ReadBackError
from testbed.network import read_back
from testbed.network.commands import TAP_RING_FRAMES
from testbed.network.plan import NetworkPlan
from testbed.network.topology import Topo
from tests.unit.plans import plan_of

MACS = {
    "a-eth0": "02:00:00:00:01:01", "r-eth0": "02:00:00:00:01:02",
    "r-eth1": "02:00:00:00:02:01", "b-eth0": "02:00:00:00:02:02",
}  # fmt: skip
LINKS: list[dict[str, Any]] = [
    {"ifname": "lo", "flags": ["LOOPBACK", "UP"], "txqlen": 1000, "addr_info": []},
    {
        "ifname": "a-eth0",
        "flags": ["BROADCAST", "MULTICAST", "UP"],
        "txqlen": TAP_RING_FRAMES,
        "address": "02:00:00:00:01:01",
        "addr_info": [{"family": "inet", "local": "10.0.0.1", "prefixlen": 24}],
    },
]
ROUTES: list[dict[str, Any]] = [
    {"dst": "10.0.0.0/24", "dev": "a-eth0", "metrics": [{"congestion": "cubic"}]},
    {
        "dst": "10.0.1.0/24",
        "gateway": "10.0.0.2",
        "dev": "a-eth0",
        "metrics": [{"congestion": "cubic"}],
    },
    {
        "dst": "10.0.2.0/24",
        "gateway": "10.0.0.2",
        "dev": "a-eth0",
        "metrics": [{"congestion": "cubic"}],
    },
]
NEIGHBOURS: list[dict[str, Any]] = [
    {"dst": "10.0.0.2", "dev": "a-eth0", "lladdr": "02:00:00:00:01:02", "state": ["PERMANENT"]}
]
CLASS = "class htb 1:10 root leaf 10: prio 0 rate {} ceil {} burst 1512b cburst 1512b \n"


def plan() -> NetworkPlan:
    """a --relay-- r --veth, 10 and 20 Mbit/s from r-- b, c."""

    def build(topo: Topo) -> None:
        topo.addHost("a")
        topo.addHost("r", ip_forward=True)
        topo.addHost("b")
        topo.addHost("c")
        topo.addLink("a", "r", delay="1ms")
        topo.addLink("r", "b", forward={"capacity": "10mbit", "queue": "50p"})
        topo.addLink("r", "c", forward={"capacity": "20mbit", "queue": "50p"})

    return plan_of(build)


def shaped(device: str) -> list[dict[str, Any]]:
    return [
        {"kind": "htb", "handle": "1:", "dev": device, "root": True, "options": {}},
        {"kind": "pfifo", "handle": "10:", "dev": device, "options": {"limit": 50}},
    ]


QDISCS = [
    {"kind": "pfifo", "handle": "1:", "dev": "r-eth0", "root": True, "options": {"limit": 1000}},
    *shaped("r-eth1"),
    *shaped("r-eth2"),
]


def test_what_is_as_planned() -> None:
    network = plan()
    node = network.node("a")
    assert read_back.addresses_of(network, node, LINKS) == {"a-eth0": ["10.0.0.1/24"]}
    read_back.check_routes(node, ROUTES, "cubic")
    read_back.check_neighbours(node, MACS, NEIGHBOURS)
    classes = CLASS.format("10Mbit", "10Mbit") + CLASS.format("20Mbit", "20Mbit")
    read_back.check_queues(network.sent_by("r"), QDISCS, classes)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("address", "02:00:00:00:09:09", "a: a-eth0 address was set to 02:00:00:00:01:01 and"),
        ("flags", ["BROADCAST"], "a: a-eth0 is up was set to True and reads back as False"),
        ("txqlen", 1000, "a: a-eth0 txqueuelen was set to 10000 and reads back as 1000"),
        ("addr_info", [], r"a: a-eth0 was set to \['10.0.0.1/24'\] and reads back as \[\]"),
        ("ifname", "other", "a: a-eth0 address was set to 02:00:00:00:01:01 and reads back as N"),
    ],
)
def test_an_interface_that_reads_back_differently(field: str, value: object, said: str) -> None:
    links = copy.deepcopy(LINKS)
    links[1][field] = value
    with pytest.raises(ReadBackError, match=said):
        read_back.addresses_of(plan(), plan().node("a"), links)


def test_a_port_that_is_none_of_its_switch() -> None:
    def build(topo: Topo) -> None:
        topo.addHost("a")
        topo.addHost("b")
        topo.addSwitch("s1")
        topo.addLink("a", "s1")
        topo.addLink("b", "s1")

    network = plan_of(build)
    ports: list[dict[str, Any]] = [
        {"ifname": "s1-eth1", "flags": ["UP"], "address": "02:00:00:00:01:02", "master": "s1"},
        {"ifname": "s1-eth2", "flags": ["UP"], "address": "02:00:00:00:02:02"},
    ]
    with pytest.raises(ReadBackError, match="s1: s1-eth2 master was set to s1 and reads back as N"):
        read_back.addresses_of(network, network.node("s1"), ports)


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        (ROUTES[:2], "a: no route to 10.0.2.0/24 by 10.0.0.2 after it was set"),
        ([*ROUTES, {"dst": "default", "dev": "a-eth0"}], "number of routes was set to 3 and rea"),
        (
            [*ROUTES[:2], {**ROUTES[2], "gateway": "10.0.0.3"}],
            "no route to 10.0.2.0/24 by 10.0.0.2",
        ),
        ([*ROUTES[:2], {**ROUTES[2], "metrics": []}], "congctl of the route to 10.0.2.0/24 .* N"),
    ],
    ids=["missing", "one more", "another gateway", "no congestion control"],
)
def test_a_route_that_reads_back_differently(routes: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ReadBackError, match=said):
        read_back.check_routes(plan().node("a"), routes, "cubic")


@pytest.mark.parametrize(
    ("neighbours", "said"),
    [
        ([], "a: neighbour 10.0.0.2 on a-eth0 was set to 02:00:00:00:01:02 and reads back as None"),
        ([{**NEIGHBOURS[0], "lladdr": "02:00:00:00:01:07"}], "reads back as 02:00:00:00:01:07"),
        ([*NEIGHBOURS, {**NEIGHBOURS[0], "dst": "10.0.0.3"}], "number of neighbours was set to 1"),
    ],
    ids=["missing", "another address", "one more"],
)
def test_a_neighbour_that_reads_back_differently(
    neighbours: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(ReadBackError, match=said):
        read_back.check_neighbours(plan().node("a"), MACS, neighbours)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (
            CLASS.format("20Mbit", "20Mbit") + CLASS.format("10Mbit", "10Mbit"),
            "r-eth1: capacity in bit/s was set to 10000000 and reads back as 20000000",
        ),
        (CLASS.format("10Mbit", "10Mbit"), "r: number of capacities was set to 2 and reads back a"),
    ],
    ids=["changed about", "one is missing"],
)
def test_capacities_are_told_apart_by_their_order(classes: str, said: str) -> None:
    with pytest.raises(ReadBackError, match=said):
        read_back.check_queues(plan().sent_by("r"), QDISCS, classes)


def test_a_queue_of_another_interface_is_not_taken_for_ones_own() -> None:
    classes = CLASS.format("10Mbit", "10Mbit") + CLASS.format("20Mbit", "20Mbit")
    lacking = [qdisc for qdisc in QDISCS if qdisc["dev"] != "r-eth2"]
    with pytest.raises(ReadBackError, match=r"r-eth2: expected an htb qdisc 1: \(got \[\]\)"):
        read_back.check_queues(plan().sent_by("r"), lacking, classes)
