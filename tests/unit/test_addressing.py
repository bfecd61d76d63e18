"""Rule: every interface has an address of its own, every node a route to every segment and every
neighbour's MAC known, and a topology that cannot have that is refused.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import ScenarioError
from testbed.network.addressing import Attachment, NodeAddressing, Route, assign

Ends = list[tuple[str, str]]


def attach(ends: Ends, given: dict[str, str] | None = None) -> list[Attachment]:
    """Attachments of links between pairs of nodes, interfaces numbered as Mininet numbers them."""
    count: dict[str, int] = {}
    attachments = []
    for index, pair in enumerate(ends):
        for node in pair:
            name = f"{node}-eth{count.get(node, 0)}"
            count[node] = count.get(node, 0) + 1
            attachments.append(Attachment(node, name, f"link{index}", (given or {}).get(name)))
    return attachments


def role_of(node: str) -> str:
    return {"r": "router", "s": "switch"}.get(node[0], "host")


def addressing(ends: Ends, given: dict[str, str] | None = None) -> dict[str, NodeAddressing]:
    nodes = list(dict.fromkeys(node for pair in ends for node in pair))
    return assign({node: role_of(node) for node in nodes}, attach(ends, given))


def problem_of(ends: Ends, given: dict[str, str] | None = None) -> str:
    with pytest.raises(ScenarioError) as caught:
        addressing(ends, given)
    return str(caught.value)


def test_one_segment_without_a_router_is_mininets_own() -> None:
    found = addressing([("h1", "s1"), ("s1", "h2")])
    assert found["h1"].addresses == ("10.0.0.1/8",)
    assert found["h2"].addresses == ("10.0.0.2/8",)
    assert found["s1"].addresses == ()
    assert found["h1"].routes == (Route("10.0.0.0/8", "h1-eth0", None),)


def test_links_without_a_router_between_them_have_prefixes_of_their_own() -> None:
    found = addressing([("h1", "h2"), ("h3", "h4")])
    assert [found[f"h{n}"].addresses for n in (1, 2, 3, 4)] == [
        ("10.0.0.1/24",), ("10.0.0.2/24",), ("10.0.1.1/24",), ("10.0.1.2/24",),
    ]  # fmt: skip


def test_segments_between_routers_are_numbered_in_the_order_of_the_links() -> None:
    found = addressing([("h1", "r1"), ("r1", "r2"), ("r2", "h2")])
    assert found["r1"].addresses == ("10.0.0.2/24", "10.0.1.1/24")
    assert found["h1"].routes == (
        Route("10.0.0.0/24", "h1-eth0", None),
        Route("10.0.1.0/24", "h1-eth0", "10.0.0.2"),
        Route("10.0.2.0/24", "h1-eth0", "10.0.0.2"),
    )
    assert found["r1"].routes == (
        Route("10.0.0.0/24", "r1-eth0", None),
        Route("10.0.1.0/24", "r1-eth1", None),
        Route("10.0.2.0/24", "r1-eth1", "10.0.1.2"),
    )


def test_the_shortest_way_is_taken_and_the_first_of_equal_ones() -> None:
    # h1 - r1 - r2 - h2 and r1 - r3 - r2: two hops beat three.
    ends = [("h1", "r1"), ("r1", "r3"), ("r3", "r2"), ("r1", "r2"), ("r2", "h2")]
    found = addressing(ends)
    (to_h2,) = (r for r in found["r1"].routes if r.prefix == "10.0.4.0/24")
    assert to_h2.interface == "r1-eth2"
    # From r1 to the segment between r3 and r2 both ways have two hops; r3's link comes first.
    (to_r3,) = (r for r in found["r1"].routes if r.prefix == "10.0.2.0/24")
    assert to_r3.interface == "r1-eth1"


def test_a_given_address_gives_its_segment_the_prefix_and_nobody_else_gets_it() -> None:
    found = addressing([("h1", "r1"), ("r1", "h2")], {"h1-eth0": "10.0.0.254/24"})
    assert found["h1"].addresses == ("10.0.0.254/24",)
    assert found["r1"].addresses == ("10.0.0.1/24", "10.0.1.1/24")


def test_free_prefixes_avoid_given_ones() -> None:
    found = addressing([("h1", "r1"), ("r1", "h2")], {"h2-eth0": "10.0.0.9/16"})
    assert found["h1"].addresses == ("10.1.0.1/24",)


def test_hosts_behind_switches_share_a_segment_and_know_each_other() -> None:
    found = addressing([("h1", "s1"), ("s1", "s2"), ("s2", "h2"), ("s2", "h3")])
    assert [(n.address, n.owner_node) for n in found["h2"].neighbours] == [
        ("10.0.0.1", "h1"),
        ("10.0.0.3", "h3"),
    ]


def test_a_segment_of_many_hosts_has_room() -> None:
    ends = [("r1", "s1"), *((f"h{n}", "s1") for n in range(300))]
    found = addressing(ends)
    assert {a.addresses[0].split("/")[1] for n, a in found.items() if n != "s1"} == {"23"}


@pytest.mark.parametrize(
    ("ends", "given", "message"),
    [
        pytest.param(
            [("h1", "s1"), ("s1", "s2"), ("s2", "s3"), ("s3", "s1")],
            {},
            "topology: the switches s1, s2, s3 form a loop",
            id="a loop of switches",
        ),
        pytest.param(
            [("h1", "s1"), ("s1", "s2"), ("s2", "s1")],
            {},
            "topology: the switches s1, s2 form a loop",
            id="two links between two switches",
        ),
        pytest.param(
            [("h1", "h2")],
            {"h1-eth0": "10.0.0.x"},
            "node h1: address of h1-eth0: expected an IPv4 address with a prefix of at most 30 "
            'bits, such as 10.0.0.1/24 (got "10.0.0.x")',
            id="no address",
        ),
        pytest.param(
            [("h1", "h2")],
            {"h1-eth0": "10.0.0.1"},
            "node h1: address of h1-eth0: expected an IPv4 address with a prefix of at most 30 "
            'bits, such as 10.0.0.1/24 (got "10.0.0.1")',
            id="no prefix",
        ),
        pytest.param(
            [("h1", "h2")],
            {"h1-eth0": "10.0.0.1/24", "h2-eth0": "10.0.1.2/24"},
            "topology: interfaces of one segment lie in different prefixes: "
            "h1-eth0 in 10.0.0.0/24, h2-eth0 in 10.0.1.0/24",
            id="two prefixes on one segment",
        ),
        pytest.param(
            [("h1", "h2")],
            {"h1-eth0": "10.0.0.1/24", "h2-eth0": "10.0.0.1/24"},
            "topology: h2-eth0 and h1-eth0 have the same address 10.0.0.1",
            id="an address twice",
        ),
        pytest.param(
            [("h1", "s1"), ("h2", "s1"), ("h3", "s1")],
            {"h1-eth0": "10.0.0.1/30"},
            "node h3: no address is left in 10.0.0.0/30 for h3-eth0",
            id="a prefix that is too small",
        ),
        pytest.param(
            [("h1", "r1"), ("r1", "h2"), ("r1", "h3")],
            {"h1-eth0": "10.0.0.1/9", "h2-eth0": "10.128.0.1/9"},
            "topology: no prefix of 24 bits is left in 10.0.0.0/8",
            id="no prefix is left",
        ),
    ],
)
def test_what_cannot_be_addressed_is_refused(
    ends: Ends, given: dict[str, str], message: str
) -> None:
    assert problem_of(ends, given) == message


@st.composite
def trees(draw: st.DrawFn) -> Ends:
    """Connected networks without loops: routers and switches anywhere, hosts as leaves."""
    inner = [f"{draw(st.sampled_from('rs'))}{n}" for n in range(draw(st.integers(1, 6)))]
    ends = [(draw(st.sampled_from(inner[:n])), inner[n]) for n in range(1, len(inner))]
    hosts = draw(st.lists(st.sampled_from(inner), min_size=2, max_size=6))
    return [*ends, *((f"h{n}", node) for n, node in enumerate(hosts))]


def travel(found: dict[str, NodeAddressing], start: str, target: IPv4Address) -> list[str]:
    """The nodes that a packet from `start` to `target` visits, by their routes and neighbours."""
    path = [start]
    while all(IPv4Interface(a).ip != target for a in found[path[-1]].addresses):
        node = found[path[-1]]
        (route,) = (r for r in node.routes if target in IPv4Network(r.prefix))
        next_hop = route.via or str(target)
        (neighbour,) = (n for n in node.neighbours if n.address == next_hop)
        assert neighbour.interface == route.interface
        path.append(neighbour.owner_node)
        assert len(path) <= len(found), f"a loop: {path}"
    return path


@given(trees())
def test_in_any_network_every_node_reaches_every_address_through_routers_only(ends: Ends) -> None:
    found = addressing(ends)
    addresses = [IPv4Interface(a).ip for node in found.values() for a in node.addresses]
    assert len(set(addresses)) == len(addresses)
    assert len(addresses) == sum(role_of(node) != "switch" for pair in ends for node in pair)
    for start in (name for name in found if role_of(name) != "switch"):
        for target in addresses:
            path = travel(found, start, target)
            assert all(role_of(node) == "router" for node in path[1:-1])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["fd00:0:a00::1/64", "fd00:0:a00::2/64"]),
        ({"h1-eth0": "10.1.0.9/24"}, ["fd00:0:a01::9/64", "fd00:0:a01::1/64"]),
        ({"h2-eth0": "fd12::5/120"}, ["fd12::1/120", "fd12::5/120"]),
    ],
    ids=["nothing given", "IPv4 given", "IPv6 given"],
)
def test_addresses_over_ipv6(given: dict[str, str], expected: list[str]) -> None:
    ends = [("h1", "h2")]
    found = assign({"h1": "host", "h2": "host"}, attach(ends, given), 6)
    assert [found[node].addresses[0] for node in ("h1", "h2")] == expected


def test_an_ipv6_address_needs_ipv6() -> None:
    assert problem_of([("h1", "h2")], {"h1-eth0": "fd00::1/64"}) == (
        "node h1: address of h1-eth0: expected an IPv4 address with a prefix of at most 30 bits, "
        'such as 10.0.0.1/24 (got "fd00::1/64")'
    )


@given(trees())
def test_over_ipv6_everything_takes_the_same_ways(ends: Ends) -> None:
    nodes = list(dict.fromkeys(node for pair in ends for node in pair))
    roles = {node: role_of(node) for node in nodes}
    four, six = assign(roles, attach(ends), 4), assign(roles, attach(ends), 6)
    for node in nodes:
        ways = [[(r.interface, r.via is None) for r in x[node].routes] for x in (four, six)]
        assert ways[0] == ways[1]
    addresses = [a for node in six.values() for a in node.addresses]
    assert len(set(addresses)) == len(addresses) == sum(len(n.addresses) for n in four.values())
    assert all(a.startswith("fd00:0:") and a.endswith("/64") for a in addresses)
