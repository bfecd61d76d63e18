"""Rule: a node has the routes that the topology gives it and those to its own segments, or else the
shortest ones; a service address is reached over every shortest way; and a packet that would not
arrive is known before a run.
"""

from __future__ import annotations

from typing import Any

import pytest

from testbed.errors import EXIT_WRONG_REQUEST, ScenarioError
from testbed.network.plan import NetworkPlan
from testbed.network.routing import Forwarding, Hop, Route
from testbed.network.topology import Topo
from tests.unit.plans import pair, plan_of, problems_of


def chain(**of_r1: Any) -> Any:
    """client - r1 - r2 - server, with parameters of r1."""

    def build(topo: Topo) -> None:
        topo.addHost("client", role="client", ip="10.1.0.1/24")
        topo.addNode("r1", role="router", ip="10.1.0.254/24", **of_r1)
        topo.addNode("r2", role="router", ip="10.0.0.2/30")
        topo.addHost("server", role="server", ip="10.2.0.1/24")
        topo.addLink("client", "r1")
        topo.addLink("r1", "r2", params1={"ip": "10.0.0.1/30"})
        topo.addLink("r2", "server", params1={"ip": "10.2.0.254/24"})

    return build


def balanced(servers: int = 2, **of_balancer: Any) -> Any:
    """client - lb - servers that share one address."""

    def build(topo: Topo) -> None:
        topo.addHost("client", role="client", ip="10.0.0.1/24")
        topo.addNode("lb", role="router", ip="10.0.0.254/24", **of_balancer)
        topo.addLink("client", "lb")
        for n in range(1, servers + 1):
            topo.addHost(f"s{n}", role="server", ip=f"10.1.{n}.1/24", service="10.100.0.1")
            topo.addLink("lb", f"s{n}", params1={"ip": f"10.1.{n}.254/24"})

    return build


def routes_of(plan: NetworkPlan, node: str) -> list[Route]:
    return list(plan.node(node).addressing.routes)


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        (4, ["10.1.0.0/24", "10.0.0.0/30", "10.2.0.0/16"]),
        (6, ["fd00:0:a01::/64", "fd00:0:a00::/64", "fd00:0:a02::/48"]),
    ],
)
def test_given_routes_stand_beside_those_to_its_own_segments(ip: int, expected: list[str]) -> None:
    plan = plan_of(chain(routes=[("10.2.0.0/16", "10.0.0.2")]), ip=ip)
    assert [route.prefix for route in routes_of(plan, "r1")] == expected
    last = routes_of(plan, "r1")[-1]
    gateway = {4: "10.0.0.2", 6: "fd00:0:a00::2"}[ip]
    assert (last.interface, last.via, last.others) == ("r1-eth1", gateway, ())


@pytest.mark.parametrize(
    ("routes", "problem"),
    [
        (
            [("10.2.0.0/24", "10.2.0.1")],
            "node r1: routes: no neighbour has the address 10.2.0.1 (the gateway of 10.2.0.0/24)",
        ),
        (
            [("10.2.0.9/24", "10.0.0.2")],
            "node r1: routes: expected a prefix such as 10.0.1.0/24, or default "
            '(got "10.2.0.9/24")',
        ),
        (
            "default via 10.0.0.2",
            "node r1: routes: expected pairs of a prefix and a gateway, such as "
            '[("default", "10.0.0.2")] (got "default via 10.0.0.2")',
        ),
        (
            [("default", "10.0.0.2", 1)],
            "node r1: routes: expected pairs of a prefix and a gateway, such as "
            "[(\"default\", \"10.0.0.2\")] (got ('default', '10.0.0.2', 1))",
        ),
        (
            [("default", [])],
            "node r1: routes: expected pairs of a prefix and a gateway, such as "
            '[("default", "10.0.0.2")] (got (\'default\', []))',
        ),
    ],
    ids=["no gateway", "no prefix", "text", "three", "no gateways"],
)
def test_routes_that_cannot_be_are_refused(routes: object, problem: str) -> None:
    assert problems_of(chain(routes=routes)) == [problem]


def test_a_route_that_lacks_is_found_with_the_node_that_lacks_it() -> None:
    assert problems_of(chain(routes=[])) == [
        "node client: cannot talk to server: r1 has no route to 10.2.0.1"
    ]


def test_a_circle_of_routes_is_found() -> None:
    problems = problems_of(chain(routes=[("10.2.0.0/24", "10.1.0.1")]))
    assert problems == [
        "node client: cannot talk to server: routes lead in a circle: client - r1 - client"
    ]


def test_two_islands_are_found() -> None:
    def build(topo: Topo) -> None:
        for name in "abcd":
            topo.addHost(name)
        topo.addLink("a", "b")
        topo.addLink("c", "d")

    assert problems_of(build) == ["node a: cannot talk to d: a has no route to 10.0.1.2"]


def test_overlapping_prefixes_of_two_segments_are_refused() -> None:
    def build(topo: Topo) -> None:
        topo.addHost("a", ip="10.0.0.1/8")
        topo.addHost("r", ip_forward=True, ip="10.0.0.2/8")
        topo.addHost("b", ip="10.3.0.1/16")
        topo.addLink("a", "r")
        topo.addLink("r", "b")

    assert problems_of(build) == [
        "topology: the segments of a-eth0 and r-eth1 have addresses in the same prefix: "
        "10.0.0.0/8 and 10.3.0.0/16"
    ]


@pytest.mark.parametrize(
    ("ip", "service", "gateways"),
    [
        (4, "10.100.0.1", ["10.1.1.1", "10.1.2.1"]),
        (6, "fd00:0:a64:1::1", ["fd00:0:a01:100::1", "fd00:0:a01:200::1"]),
    ],
)
def test_a_service_address_is_reached_over_every_shortest_way(
    ip: int, service: str, gateways: list[str]
) -> None:
    plan = plan_of(balanced(), ip=ip)
    assert plan.asked_by("client") == (service,)
    assert plan.node("s1").addressing.service == f"{service}/{32 if ip == 4 else 128}"
    last = routes_of(plan, "lb")[-1]
    assert [last.via, *(hop.via for hop in last.others)] == gateways
    (of_client,) = (r for r in routes_of(plan, "client") if r.prefix == last.prefix)
    assert of_client.others == ()


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        (
            "10.1.1.9",
            "node s: service: expected an address outside of all segments "
            "(got 10.1.1.9, which lies in 10.1.1.0/24)",
        ),
        (
            "10.1.1.0/24",
            "node s: service: expected an address without a prefix, such as 10.100.0.1 "
            '(got "10.1.1.0/24")',
        ),
    ],
)
def test_a_service_address_that_cannot_be_is_refused(service: str, problem: str) -> None:
    def build(topo: Topo) -> None:
        topo.addHost("c", role="client", ip="10.1.1.1/24")
        topo.addHost("s", role="server", service=service)
        topo.addLink("c", "s")

    assert problems_of(build) == [problem]


def test_only_servers_have_a_service_address() -> None:
    def build(topo: Topo) -> None:
        pair(topo)
        topo.nodeInfo("a")["service"] = "10.100.0.1"

    assert problems_of(build) == [
        "node a: service: only a server can have one (its role is client)"
    ]


def test_a_packet_must_arrive_on_each_of_several_ways() -> None:
    routes = {
        "a": [Route("10.9.0.0/16", "a-eth0", "10.0.0.2", (Hop("a-eth1", "10.0.1.2"),))],
        "b": [Route("10.9.0.0/16", "b-eth1", None)],
        "c": [],
    }
    owners = {"10.0.0.2": ["b"], "10.0.1.2": ["c"], "10.9.0.1": ["d"]}
    assert Forwarding(routes, owners).obstacle("a", "10.9.0.1") == "c has no route to 10.9.0.1"
    routes["c"] = routes["b"]
    assert Forwarding(routes, owners).obstacle("a", "10.9.0.1") is None
    assert Forwarding(routes, owners).obstacle("a", "10.9.0.7") == (
        "c looks for 10.9.0.7, which nobody has"
    )


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"rol": "client"}, 'node a: rol: unknown parameter; did you mean "role"?'),
        ({"colour": "red"}, "node a: colour: unknown parameter"),
        (
            {"spread": "bytes"},
            'node a: spread: expected "flows" or "packets" (got "bytes")',
        ),
    ],
)
def test_a_parameter_that_nothing_reads_is_refused(given: dict[str, Any], problem: str) -> None:
    def build(topo: Topo) -> None:
        pair(topo)
        topo.nodeInfo("a").update(given)

    error = problems_of(build)
    assert error == [problem]
    assert ScenarioError([]).exit_code == EXIT_WRONG_REQUEST


def test_parameters_of_mininet_without_effect_are_warned_of() -> None:
    def build(topo: Topo) -> None:
        pair(topo)
        topo.nodeInfo("a").update(cpu=0.5, defaultRoute="via 10.0.0.2", inNamespace=True)

    assert plan_of(build).warnings == (
        "node a: cpu has no effect here: hosts have no share of the CPU",
    )


def test_parameters_of_a_class_of_ones_own_are_warned_of() -> None:
    class Special:
        pass

    def build(topo: Topo) -> None:
        pair(topo)
        topo.nodeInfo("a").update(cls=Special, towards="10.0.0.2", route="x")

    assert plan_of(build).warnings == (
        "node a: towards has no effect here: the config() of a node's class is not called",
        "node a: route has no effect here: the config() of a node's class is not called; "
        'did you mean "routes"?',
    )
