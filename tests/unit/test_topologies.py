"""Rule: every topology with a name can be planned over IPv4 and IPv6 without a warning, its clients
reach their servers through routers and switches only, and what is out of range is refused by name.
"""

from __future__ import annotations

import importlib.util
import re
from ipaddress import ip_interface, ip_network
from typing import Any

import pytest

from testbed import bundled
from testbed.errors import EXIT_WRONG_REQUEST, ScenarioError
from testbed.network.plan import NetworkPlan, make_plan
from testbed.network.topology import load_topology
from testbed.scenario import Scenario
from testbed.scenario.impairments import GilbertElliott

NAMES = bundled.names("topologies")


def plan_of(name: str, ip: int = 4, **options: Any) -> NetworkPlan:
    scenario = Scenario(topology=name, topology_options=options, ip=ip)  # type: ignore[arg-type]
    return make_plan(load_topology(name, options), scenario, "relay")


def way(plan: NetworkPlan, start: str, address: str) -> list[str]:
    """The nodes that a packet visits; each router's first way where it has several."""
    path = [start]
    owners: dict[str, list[str]] = {}
    for node in plan.nodes:
        for text in (*node.addressing.addresses, node.addressing.service or ""):
            owners.setdefault(text.split("/")[0], []).append(node.name)
    while path[-1] not in owners[address]:
        here = plan.node(path[-1]).addressing
        target = ip_interface(address).ip
        fitting = [r for r in here.routes if target in ip_network(r.prefix)]
        route = max(fitting, key=lambda r: ip_network(r.prefix).prefixlen)
        next_hop = route.via or address
        (neighbour,) = (n for n in here.neighbours if n.address == next_hop)
        assert neighbour.interface == route.interface
        path.append(neighbour.owner_node)
        assert len(path) <= len(plan.nodes)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_its_drawing_and_names_itself_for_mn(name: str) -> None:
    path = bundled.folder("topologies") / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    summary, _, rest = (module.__doc__ or "").partition("\n\n")
    assert re.fullmatch(r".*\.", summary)
    first = rest.splitlines()[0]
    assert re.match(r" {4,}[a-z/]", first), "a drawing, indented"
    assert list(module.topos) == [name]


@pytest.mark.parametrize("ip", [4, 6])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_planned_without_a_warning(name: str, ip: int) -> None:
    plan = plan_of(name, ip)
    assert plan.warnings == ()
    assert any(link.bottleneck for link in plan.links)
    for client in plan.with_role("client"):
        for address in plan.asked_by(client.name):
            path = way(plan, client.name, address)
            assert all(plan.node(node).role == "router" for node in path[1:-1])
            assert plan.node(path[-1]).role == "server"


@pytest.mark.parametrize("name", NAMES)
def test_a_packet_takes_the_same_way_over_both(name: str) -> None:
    four, six = plan_of(name, 4), plan_of(name, 6)
    for client in four.with_role("client"):
        ways = [
            [way(plan, client.name, address) for address in plan.asked_by(client.name)]
            for plan in (four, six)
        ]
        assert ways[0] == ways[1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dumbbell", {"n": 0}, "n must lie in 1..250 (got 0)"),
        ("line", {"n": 61}, "n must lie in 1..60 (got 61)"),
        ("parking_lot", {"hops": 0}, "hops must lie in 1..60 (got 0)"),
        ("star", {"n": 1}, "n must lie in 2..250 (got 1)"),
        ("tree", {"depth": 7}, "depth must lie in 1..6 (got 7)"),
        ("tree", {"fanout": 0}, "fanout must lie in 1..60 (got 0)"),
        (
            "tree",
            {"depth": 3, "fanout": 7},
            "fanout ** depth, the number of clients, must be at most 250 (got 343)",
        ),
        ("access_link", {"clients": 251}, "clients must lie in 1..250 (got 251)"),
        ("access_link", {"down_mbit_s": 0}, "down_mbit_s must lie in 0.01..10000 (got 0)"),
        ("access_link", {"up_mbit_s": -1}, "up_mbit_s must lie in 0.01..10000 (got -1)"),
        ("access_link", {"delay_ms": -1}, "delay_ms must lie in 0..10000 (got -1)"),
        ("access_link", {"queue": "huge"}, "queue must be big or small (got huge)"),
        ("lossy_last_hop", {"loss_percent": 51}, "loss_percent must lie in 0..50 (got 51)"),
        ("lossy_last_hop", {"burst_packets": 0}, "burst_packets must lie in 1..100 (got 0)"),
        ("satellite", {"capacity_mbit_s": 0}, "capacity_mbit_s must lie in 0.01..10000 (got 0)"),
        ("satellite", {"delay_ms": 10_001}, "delay_ms must lie in 0..10000 (got 10001)"),
        ("satellite", {"queue_bdp": 0}, "queue_bdp must lie in 0.01..100 (got 0)"),
        ("two_paths", {"spread": "bytes"}, "spread must be packets or flows (got bytes)"),
        ("two_paths", {"fast_ms": -1}, "fast_ms must lie in 0..10000 (got -1)"),
        (
            "two_paths",
            {"fast_ms": 10, "slow_ms": 5},
            "slow_ms must lie in 10..10000, from fast_ms on (got 5)",
        ),
        ("load_balancer", {"n": 0}, "n must lie in 1..250 (got 0)"),
        ("fat_tree", {"k": 3}, "k must be 2, 4, 6 or 8 (got 3)"),
        ("fat_tree", {"k": 4, "pairs": 9}, "pairs must lie in 1..8 for k = 4 (got 9)"),
    ],
)
def test_what_is_out_of_range_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_topology(name, options)
    option = message.partition(" ")[0]
    said = f"topology_options.{option}: {name} raised ValueError: {message} ({name}.py:"
    assert str(caught.value).startswith(said)
    assert caught.value.where == f"topology_options.{option}"
    assert caught.value.exit_code == EXIT_WRONG_REQUEST


def test_the_long_flow_of_a_parking_lot_meets_each_cross_flow_on_one_hop() -> None:
    plan = plan_of("parking_lot", hops=3)
    ways = {
        client.name: way(plan, client.name, plan.asked_by(client.name)[0])
        for client in plan.with_role("client")
    }
    assert ways == {
        "client0": ["client0", "r1", "r2", "r3", "r4", "server0"],
        "client1": ["client1", "r1", "r2", "server1"],
        "client2": ["client2", "r2", "r3", "server2"],
        "client3": ["client3", "r3", "r4", "server3"],
    }


def test_a_star_of_a_switch_is_one_segment_and_of_a_router_is_many() -> None:
    (prefix,) = {
        ip_interface(node.addressing.addresses[0]).network
        for node in plan_of("star", n=5).nodes
        if node.role != "switch"
    }
    assert str(prefix) == "10.0.0.0/24"
    assert len(plan_of("star", n=5, bridge=False).node("r1").addressing.addresses) == 5


@pytest.mark.parametrize("k", [2, 4, 6])
def test_a_fat_tree_has_the_nodes_and_links_of_the_paper(k: int) -> None:
    plan = plan_of("fat_tree", k=k, pairs=1)
    routers = [node.name for node in plan.with_role("router")]
    assert sum(name.startswith("c") for name in routers) == (k // 2) ** 2
    assert sum(name.startswith("a") for name in routers) == k * k // 2
    assert sum(name.startswith("e") for name in routers) == k * k // 2
    assert len(plan.nodes) - len(routers) == k**3 // 4
    assert len(plan.links) == 3 * k**3 // 4
    assert {len(plan.node(name).interfaces) for name in routers} == {k}


def test_a_fat_tree_spreads_over_every_core_router_by_the_destination() -> None:
    plan = plan_of("fat_tree", k=4)
    hosts = [node.name for node in plan.nodes if node.name.startswith("h")]
    cores = {
        (start, end): [n for n in way(plan, start, plan.address(end)) if n.startswith("c")]
        for start in hosts
        for end in hosts
        if start[:2] != end[:2]
    }
    assert {len(found) for found in cores.values()} == {1}
    counts = [sum(found == [f"c{g}_{j}"] for found in cores.values()) for g in "01" for j in "01"]
    assert counts == [len(cores) // 4] * 4
    # Edge router 0 to host number 1: aggregation router 1, and of its group the core router 0.
    assert way(plan, "h0_0_0", plan.address("h2_1_1")) == [
        "h0_0_0", "e0_0", "a0_1", "c1_0", "a2_1", "e2_1", "h2_1_1",
    ]  # fmt: skip


def test_queues_of_an_access_link_hold_a_second_or_50_ms() -> None:
    def packets(queue: str) -> tuple[int | None, int | None]:
        link = plan_of("access_link", queue=queue).links[0]
        return link.forward.queue_packets, link.reverse.queue_packets

    # 2 and 20 Mbit/s, a frame of 1514 bytes.
    assert packets("big") == (165, 1651)
    assert packets("small") == (8, 83)


def test_losses_of_a_last_hop_are_as_many_and_as_long_as_asked() -> None:
    link = plan_of("lossy_last_hop", loss_percent=4.0, burst_packets=5.0).links[0]
    assert link.forward.loss_ratio == pytest.approx(0.04)
    assert isinstance(link.forward.loss, GilbertElliott)
    assert link.forward.loss.r == pytest.approx(0.2)
    assert plan_of("lossy_last_hop", loss_percent=0.0).links[0].forward.loss_ratio == 0


def test_the_queue_of_a_satellite_is_a_bandwidth_delay_product() -> None:
    # 20 Mbit/s * 540 ms = 10.8 Mbit, 892 frames.
    assert plan_of("satellite").links[1].forward.queue_packets == 892
    assert plan_of("satellite", queue_bdp=0.5).links[1].forward.queue_packets == 446


@pytest.mark.parametrize("spread", ["packets", "flows"])
def test_two_paths_have_two_ways_each_way(spread: str) -> None:
    plan = plan_of("two_paths", spread=spread)
    assert plan.spreads_packets == (spread == "packets")
    ways = {
        node.name: [[hop.via for hop in r.hops] for r in node.addressing.routes if r.others]
        for node in plan.nodes
    }
    assert ways == {
        "client": [],
        "r1": [["10.0.1.2", "10.0.3.2"]],
        "fast": [],
        "slow": [],
        "r2": [["10.0.2.1", "10.0.4.1"]],
        "server": [],
    }


def test_a_load_balancer_has_a_way_to_each_server_and_clients_ask_their_one_address() -> None:
    plan = plan_of("load_balancer", n=3)
    assert plan.asked_by("client") == ("10.100.0.1",)
    (route,) = (r for r in plan.node("lb").addressing.routes if r.others)
    assert [hop.via for hop in route.hops] == ["10.1.1.1", "10.1.2.1", "10.1.3.1"]
    services = {node.addressing.service for node in plan.with_role("server")}
    assert services == {"10.100.0.1/32"}
