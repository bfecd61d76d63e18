"""Rule: what a `Topo` says of a node is done, refused or warned of, and never passed over."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.network.topology import Topo
from tests.unit.plans import pair, plan_of, problems_of


class NAT:
    """As mininet.nodelib has one."""


class Cache:
    def config(self, **_params: Any) -> None:
        """Would start something."""


class Shared:
    def config(self, service: str = "", **_params: Any) -> None:
        """Would add the service address, as the testbed does."""


class PlainHost(Cache):
    """What it inherits is named."""


def with_node(**info: Any) -> Any:
    """a, x, b at one switch."""

    def build(topo: Topo) -> None:
        topo.addSwitch("s1")
        for name in ("a", "x", "b"):
            topo.addHost(name, **(info if name == "x" else {}))
            topo.addLink(name, "s1")

    return build


def test_address_translation_is_refused() -> None:
    assert problems_of(with_node(cls=NAT)) == [
        "node x: cls: NAT translates addresses, which no node does here; with "
        'role="router" and without NAT it joins both sides'
    ]


@pytest.mark.parametrize(
    ("info", "warnings"),
    [
        ({}, ()),
        ({"cpu": 0.5}, ("node x: cpu has no effect here: hosts have no share of the CPU",)),
        ({"cls": Cache}, ("node x: Cache.config is not called: what it does to the host is miss",)),
        ({"cls": PlainHost}, ("node x: Cache.config is not called: what it does to the host is ",)),
        ({"cls": Cache, "role": "router"}, ()),
        ({"cls": Shared, "role": "server", "service": "192.0.2.1"}, ()),
        ({"defaultRoute": "via 10.0.0.9"}, ()),
    ],
)
def test_what_has_no_effect_is_warned_of(info: dict[str, Any], warnings: tuple[str, ...]) -> None:
    found = plan_of(with_node(**info)).warnings
    assert len(found) == len(warnings)
    for text, start in zip(found, warnings, strict=True):
        assert text.startswith(start)


def test_a_mac_address_of_the_node_is_its_first_interfaces() -> None:
    plan = plan_of(with_node(mac="00:00:00:00:00:AB"))
    assert [one.mac for one in plan.node("x").interfaces] == ["00:00:00:00:00:ab"]
    assert [one.mac for one in plan.node("a").interfaces] == ["02:00:00:00:01:01"]


def test_a_mac_address_of_a_link_s_end_is_that_interfaces() -> None:
    plan = plan_of(lambda topo: pair(topo, params2={"mac": "02:00:00:00:00:0b"}))
    assert [one.mac for one in plan.node("b").interfaces] == ["02:00:00:00:00:0b"]


@pytest.mark.parametrize("text", ["00:00:00:00:00", "01:00:5e:00:00:01", "zz:00:00:00:00:01"])
def test_what_is_no_address_of_a_station(text: str) -> None:
    assert problems_of(with_node(mac=text)) == [
        "MAC address of x-eth0: expected the MAC address of one station, such as "
        f'02:00:00:00:00:01 (got "{text}")'
    ]


def test_a_mac_address_twice() -> None:
    def build(topo: Topo) -> None:
        topo.addHost("a", mac="02:00:00:00:00:01")
        topo.addHost("b", mac="02:00:00:00:00:01")
        topo.addLink("a", "b")

    assert problems_of(build) == [
        "MAC address of b-eth0: 02:00:00:00:00:01 is another interface's as well"
    ]
