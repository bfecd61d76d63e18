"""Rule: a `Topo` and a scenario give one plan in base units, or every problem at once; nothing is
ignored.
"""

from __future__ import annotations

import pytest
from mininet.node import Node

from testbed.network.plan import make_plan
from testbed.network.topology import Topo, load_topology
from testbed.scenario import Link, Scenario
from tests.unit.plans import MS, Build, pair, plan_of, problems_of, through_router


class MyRouter(Node):  # type: ignore[misc]  # mininet has no types
    """A node that is a router by its class's name."""


def test_single_bottleneck_with_the_options_of_a_run() -> None:
    scenario = Scenario(
        topology="single_bottleneck", link=Link(capacity="20mbit", delay="15ms", loss="2%")
    )
    plan = make_plan(load_topology("single_bottleneck", {}), scenario, "relay")
    assert [(node.name, node.role) for node in plan.nodes] == [
        ("client", "client"), ("r1", "router"), ("server", "server"),
    ]  # fmt: skip
    assert [(link.name, link.wire, link.bottleneck) for link in plan.links] == [
        ("client-r1", "relay", True), ("r1-server", "relay", True),
    ]  # fmt: skip
    # Options apply to the directions that leave the router; its queue of 50 packets stays.
    for way in (plan.links[0].reverse, plan.links[1].forward):
        assert way.sender == "r1"
        assert (way.capacity_bit_s, way.delay_ns) == (20_000_000, 15 * MS)
        assert (way.loss_ratio, way.queue_packets) == (0.02, 50)
    for way in (plan.links[0].forward, plan.links[1].reverse):
        assert (way.capacity_bit_s, way.delay_ns, way.loss_ratio) == (None, 0, 0.0)
        assert (way.queue_packets, way.queue_bytes, way.bottleneck) == (None, None, False)
    assert plan.warnings == ()
    assert (plan.address("client"), plan.address("server")) == ("10.0.0.1", "10.0.1.1")


def test_the_same_topology_gives_the_same_plan() -> None:
    scenario = Scenario(topology="dumbbell")
    plans = [make_plan(load_topology("dumbbell", {"n": 3}), scenario, "relay") for _ in range(2)]
    assert plans[0] == plans[1]


def test_only_a_link_that_needs_a_wire_has_one() -> None:
    plan = make_plan(load_topology("dumbbell", {}), Scenario(topology="dumbbell"), "kernel")
    assert {link.name: link.wire for link in plan.links} == {
        "r1-r2": "kernel",
        "client1-r1": "direct",
        "server1-r2": "direct",
        "client2-r1": "direct",
        "server2-r2": "direct",
    }


@pytest.mark.parametrize(
    ("build", "roles"),
    [
        pytest.param(pair, {"a": "client", "b": "server"}, id="first and last host"),
        pytest.param(
            through_router, {"a": "client", "r": "router", "b": "server"}, id="ip_forward"
        ),
        pytest.param(
            lambda topo: (topo.addHost("x", cls=MyRouter), pair(topo), topo.addLink("a", "x")),
            {"x": "router", "a": "client", "b": "server"},
            id="a class called Router",
        ),
        pytest.param(
            lambda topo: (topo.addHost("router9"), pair(topo), topo.addLink("a", "router9")),
            {"router9": "router", "a": "client", "b": "server"},
            id="a name with router in it",
        ),
        pytest.param(
            lambda topo: (pair(topo), topo.addSwitch("s1"), topo.addLink("a", "s1")),
            {"a": "client", "b": "server", "s1": "switch"},
            id="a switch",
        ),
        pytest.param(
            lambda topo: (
                topo.addHost("one"),
                topo.addHost("two", role="client"),
                topo.addHost("three"),
                topo.addSwitch("s1"),
                *(topo.addLink(name, "s1") for name in ("one", "two", "three")),
            ),
            {"one": "host", "two": "client", "three": "server", "s1": "switch"},
            id="a role that is given stands, the last host serves",
        ),
    ],
)
def test_roles(build: Build, roles: dict[str, str]) -> None:
    assert {node.name: node.role for node in plan_of(build).nodes} == roles


def test_interfaces_are_named_and_numbered_alike_in_every_run() -> None:
    plan = plan_of(through_router)
    assert [(i.name, i.mac) for i in plan.node("r").interfaces] == [
        ("r-eth0", "02:00:00:00:01:02"),
        ("r-eth1", "02:00:00:00:02:01"),
    ]
    macs = [i.mac for node in plan.nodes for i in node.interfaces]
    assert len(set(macs)) == len(macs)


def test_names_of_interfaces_and_parallel_links() -> None:
    def build(topo: Topo) -> None:
        pair(topo, intfName1="up", intfName2="down")
        topo.addSwitch("s1")
        topo.addLink("a", "s1")
        topo.addLink("s1", "b")
        topo.addLink("b", "a", params1={"ip": "10.9.0.1/24"})

    plan = plan_of(build, topology_options={})
    # Mininet gives the links of a node together, in the order of the nodes.
    assert [link.name for link in plan.links] == ["a-b", "b-a-1", "a-s1", "s1-b"]
    assert plan.links[0].forward.sender_interface == "up"
    assert plan.links[0].forward.receiver_interface == "down"


def test_settings_of_a_link_apply_to_both_directions_and_forward_reverse_to_one() -> None:
    def build(topo: Topo) -> None:
        through_router(topo, delay="10ms", loss="1%", reverse={"delay": "30ms"})

    link = plan_of(build).links[1]
    assert (link.forward.delay_ns, link.forward.loss_ratio) == (10 * MS, 0.01)
    assert (link.reverse.delay_ns, link.reverse.loss_ratio) == (30 * MS, 0.01)


def test_a_named_link_wins_over_the_scenarios_link_and_that_over_the_topology() -> None:
    def build(topo: Topo) -> None:
        through_router(topo, bottleneck="forward", delay="10ms", capacity="10mbit")

    plan = plan_of(
        build,
        link=Link(delay="20ms", loss="1%"),
        links={"r-b": Link(loss="3%"), "a-r": Link(delay="1ms")},
    )
    forward, reverse = plan.links[1].forward, plan.links[1].reverse
    assert (forward.capacity_bit_s, forward.delay_ns) == (10_000_000, 20 * MS)
    assert forward.loss_ratio == 0.03
    # The scenario's `link` is for the direction that is marked; a link's name means both.
    assert (reverse.delay_ns, reverse.loss_ratio) == (10 * MS, 0.03)
    assert plan.links[0].forward.delay_ns == plan.links[0].reverse.delay_ns == MS


@pytest.mark.parametrize(
    ("link", "packets", "size"),
    [
        pytest.param({"capacity": "1mbit"}, 100, None, id="100 packets unless one is named"),
        pytest.param({"capacity": "1mbit", "queue": "20p"}, 20, None, id="packets"),
        pytest.param({"capacity": "1mbit", "queue": "64kB"}, None, 64_000, id="bytes"),
    ],
)
def test_the_queue(link: dict[str, str], packets: int | None, size: int | None) -> None:
    way = plan_of(lambda topo: through_router(topo, forward=link)).links[1].forward
    assert (way.queue_packets, way.queue_bytes) == (packets, size)


def test_a_capacity_on_a_hosts_own_interface_is_warned_of() -> None:
    plan = plan_of(lambda topo: through_router(topo, capacity="1mbit"))
    assert len(plan.warnings) == 1
    assert plan.warnings[0].startswith("the capacity of b-eth0 stands on a host's own interface")


def test_an_address_that_the_topology_gives_stands() -> None:
    def build(topo: Topo) -> None:
        topo.addHost("a", ip="192.168.7.9/24")
        topo.addHost("r", role="router")
        topo.addHost("b")
        topo.addLink("a", "r")
        topo.addLink("r", "b", params1={"ip": "172.16.0.1/16"})

    plan = plan_of(build)
    assert plan.node("a").addressing.addresses == ("192.168.7.9/24",)
    assert plan.node("r").addressing.addresses == ("192.168.7.1/24", "172.16.0.1/16")
    assert plan.node("b").addressing.addresses == ("172.16.0.2/16",)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        pytest.param(
            lambda topo: pair(topo, dealy="10ms"),
            ['link a-b: dealy: unknown setting; did you mean "delay"?'],
            id="unknown setting of a link",
        ),
        pytest.param(
            lambda topo: pair(topo, forward={"los": "1%"}),
            ['link a-b.forward.los: unknown key; did you mean "loss"?'],
            id="unknown setting of a direction",
        ),
        pytest.param(
            lambda topo: pair(topo, forward="los 1%"),
            [
                "link a-b.forward: expected SETTING VALUE, SETTING VALUE, such as loss 2%, delay "
                '5ms (got "los 1%": unknown setting "los"; did you mean "loss"?)'
            ],
            id="a text of settings",
        ),
        pytest.param(
            lambda topo: pair(topo, reverse=5),
            ["link a-b.reverse: expected a table or a text of settings (got 5)"],
            id="no settings",
        ),
        pytest.param(
            lambda topo: pair(topo, bottleneck="upwards"),
            ["link a-b: bottleneck: expected True, \"forward\" or \"reverse\" (got 'upwards')"],
            id="bottleneck",
        ),
        pytest.param(
            lambda topo: through_router(topo, forward={"queue": "50p"}),
            ["link r-b.forward: queue: a queue needs a capacity: nothing waits without one"],
            id="a queue without a capacity",
        ),
        pytest.param(
            lambda topo: (topo.addHost("a", role="sender"), topo.addHost("b"),
                          topo.addLink("a", "b")),
            ['node a: role: expected one of client, server, router, host (got "sender")'],
            id="role",
        ),
        pytest.param(
            lambda topo: (pair(topo), topo.addHost("lonely")),
            ["node lonely: is connected to nothing"],
            id="a node without links",
        ),
        pytest.param(
            lambda topo: (pair(topo), topo.addLink("a", "a")),
            ["node a: is linked to itself"],
            id="a node that is linked to itself",
        ),
        pytest.param(
            lambda topo: (pair(topo), topo.addSwitch("a-switch-of-cisco"), topo.addLink(
                "a", "a-switch-of-cisco", intfName2="port1")),
            ["node a-switch-of-cisco: the name of a switch has at most 15 bytes: it is a bridge's"],
            id="a switch with a long name",
        ),
        pytest.param(
            lambda topo: (pair(topo), topo.addSwitch("s1"), topo.addLink(
                "a", "s1", intfName2="s1")),
            ['link a-s1: interface name "s1" is used twice'],
            id="a port with the name of its bridge",
        ),
        pytest.param(
            lambda topo: (pair(topo), topo.addHost(3), topo.addLink("a", 3)),
            ["node 3: a name must be text (got 3)"],
            id="a number for a name",
        ),
        pytest.param(
            lambda topo: pair(topo, params1={"ip": "10.0.0.1/24", "colour": "red"}, weight=3),
            ["link a-b: weight: unknown setting", "link a-b: params1.colour: unknown setting"],
            id="parameters of a link that are none",
        ),
        pytest.param(
            lambda topo: pair(topo, intfName1="same", intfName2="same"),
            ['link a-b: interface name "same" is used twice'],
            id="an interface name twice",
        ),
        pytest.param(
            lambda topo: (topo.addHost("a-long-client"), topo.addHost("b"),
                          topo.addLink("a-long-client", "b")),
            [
                'link a-long-client-b: interface name "a-long-client-eth0" is longer than '
                "15 bytes: give the node a shorter name"
            ],
            id="an interface name that is too long",
        ),
        pytest.param(
            lambda topo: (topo.addHost("a/b"), topo.addHost("c d"), topo.addLink("a/b", "c d")),
            [
                "node 'a/b': a name must have no slash, space or control character",
                "node 'c d': a name must have no slash, space or control character",
            ],
            id="names that cannot be file names",
        ),
        pytest.param(
            lambda topo: (topo.addHost("r", role="router"), topo.addHost("a"),
                          topo.addLink("r", "a")),
            ["topology: no node is a server, and no host is left to be one"],
            id="nobody to serve",
        ),
    ],
)  # fmt: skip
def test_problems(build: Build, expected: list[str]) -> None:
    assert problems_of(build) == expected


def test_a_wrong_quantity_names_its_link() -> None:
    (problem,) = problems_of(lambda topo: pair(topo, delay="10 parsecs"))
    assert problem.startswith("link a-b.delay: ")
    assert "10 parsecs" in problem


def test_every_problem_at_once() -> None:
    def build(topo: Topo) -> None:
        topo.addHost("a", role="boss")
        topo.addHost("b")
        topo.addLink("a", "b", loss="120%", jitter="1ms", bottleneck=3)

    found = problems_of(build, links={"b-b": Link()})
    assert [problem.split(": ")[0] for problem in found] == [
        "node a", "link a-b", "link a-b", "link a-b.loss", 'links."b-b"',
    ]  # fmt: skip


def test_a_link_name_that_the_topology_does_not_have() -> None:
    assert problems_of(through_router, links={"r-bb": Link(loss="1%")}) == [
        'links."r-bb": the topology has no such link (it has: a-r, r-b); did you mean "r-b"?'
    ]


def test_link_options_without_a_bottleneck_to_apply_to() -> None:
    (problem,) = problems_of(through_router, link=Link(loss="1%"))
    assert problem.startswith("loss: the topology t marks no link as bottleneck")
    assert '[links."a-r"]' in problem
