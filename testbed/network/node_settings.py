"""What a `Topo` says of its nodes: the parameters of ``addHost``, ``addNode`` and ``addSwitch``.

Pure.

Rule: nothing is ignored in silence. What neither the testbed nor Mininet reads is a problem; of a
node with a class of its own, whose `config` may read it in Mininet and is not called here, it is a
warning.

    role      "client", "server", "router" or "host"
    ip        the address of its first interface
    mac       the MAC address of its first interface
    routes    routes of a router beside those to its own segments: pairs of a prefix, or "default",
              and a gateway or a list of gateways of the same cost
    spread    what goes which way where a route has several gateways: "flows" (each connection has
              one way) or "packets" (each packet takes the next way)
    service   an address that servers share, each on its loopback device; clients ask there
"""

from __future__ import annotations

import inspect
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

from testbed.errors import shortened, shown
from testbed.network.routing import StaticRoute
from testbed.scenario.names import did_you_mean

Spread: TypeAlias = Literal["flows", "packets"]

OWN_KEYS: Final = ("role", "ip", "mac", "ip_forward", "routes", "spread", "service")
"""What the testbed reads."""
MININET_KEYS: Final = (
    "cls", "isSwitch", "defaultRoute", "inNamespace", "dpid", "opts", "listenPort", "inband",
    "datapath", "protocols", "failMode", "stp", "prio", "verbose", "batch", "reconnectms", "lo",
)  # fmt: skip
"""Parameters of Mininet's own node classes whose work the testbed does in its own way."""
WITHOUT_EFFECT: Final = {
    "cpu": "hosts have no share of the CPU",
    "cores": "hosts have no cores of their own",
    "sched": "hosts have no share of the CPU",
    "period_us": "hosts have no share of the CPU",
    "privateDirs": "hosts have no folders of their own",
}
"""Parameters of Mininet's that are not honoured, and why; a warning says so."""

_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_PLAIN: Final = ("mininet.node", "mininet.nodelib")
"""Modules with the classes of nodes that Mininet itself makes."""

OnProblem = Callable[[str, str], None]
"""Is told a place and what is wrong there."""


def check_keys(
    name: str,
    info: Mapping[str, Any],
    role: str,
    problem: OnProblem,
    warning: Callable[[str], None],
) -> None:
    """Tells of every parameter of the node `name` that nothing reads, and of what its class does.

    Args:
        name: of the node.
        info: what the topology says of it.
        role: that it has; a router's class may turn forwarding on, which is done anyway.
        problem: is told a place and what is wrong there.
        warning: is told what has no effect.
    """
    if any(cls.__name__ == "NAT" for cls in _classes(info)):
        problem(
            f"node {name}: cls",
            'NAT translates addresses, which no node does here; with role="router" and without '
            "NAT it joins both sides",
        )
        return
    own = next((cls for cls in _classes(info) if "config" in vars(cls)), None)
    if own is not None and role not in ("router", "switch") and not _is_done_here(own):
        warning(
            f"node {name}: {own.__name__}.config is not called: what it does to the host is missing"
        )
    known = (*OWN_KEYS, *MININET_KEYS, *WITHOUT_EFFECT)
    own_class = _has_own_class(info)
    for key in info:
        if key in WITHOUT_EFFECT:
            warning(f"node {name}: {key} has no effect here: {WITHOUT_EFFECT[key]}")
        elif key not in known and own_class:
            hint = did_you_mean(str(key), OWN_KEYS)
            warning(
                f"node {name}: {key} has no effect here: the config() of a node's class is not "
                f"called{hint}"
            )
        elif key not in known:
            problem(f"node {name}: {key}", f"unknown parameter{did_you_mean(str(key), known)}")


def _is_done_here(cls: type) -> bool:
    """Whether the testbed does what the `config` of a class does.

    It does what Mininet's own hosts do, and acts upon each of its `OWN_KEYS`: a `config` that takes
    one of these and no other parameter is there for plain Mininet.
    """
    if cls.__module__ in _PLAIN:
        return True
    parameters = inspect.signature(vars(cls)["config"]).parameters.values()
    named = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD][1:]
    return bool(named) and set(named) <= set(OWN_KEYS)


def _has_own_class(info: Mapping[str, Any]) -> bool:
    """Whether the node has a class that is not one of Mininet's."""
    module = getattr(info.get("cls"), "__module__", "")
    return bool(module) and module.partition(".")[0] != "mininet"


def _classes(info: Mapping[str, Any]) -> tuple[type, ...]:
    """The class of a node and those that it inherits from."""
    cls = info.get("cls")
    return cls.__mro__ if isinstance(cls, type) else ()


def mac_of(text: object, where: str, problem: OnProblem) -> str:
    """A MAC address as it reads back; what is none is a problem."""
    found = str(text).lower()
    if _MAC.fullmatch(found) is None or int(found[:2], 16) & 1:
        problem(
            where,
            "expected the MAC address of one station, such as 02:00:00:00:00:01 "
            f"(got {shown(text)})",
        )
    return found


def looks_like_router(name: str, info: Mapping[str, Any]) -> bool:
    """Whether a node without a role is a router: by its class, its name or ``ip_forward``."""
    names = [name, *(cls.__name__ for cls in _classes(info))]
    return bool(info.get("ip_forward")) or any("router" in text.lower() for text in names)


def routes_of(name: str, info: Mapping[str, Any], problem: OnProblem) -> list[StaticRoute] | None:
    """The routes that a node is given; None: it is given none."""
    given = info.get("routes")
    if given is None:
        return None
    form = 'pairs of a prefix and a gateway, such as [("default", "10.0.0.2")]'
    if isinstance(given, str) or not isinstance(given, Sequence):
        problem(f"node {name}: routes", f"expected {form} (got {shown(given)})")
        return []
    routes = []
    for one in given:
        match one:
            case (str(prefix), str(gateway)):
                routes.append(StaticRoute(prefix, (gateway,)))
            case (str(prefix), [_, *_] as gateways) if all(isinstance(g, str) for g in gateways):
                routes.append(StaticRoute(prefix, tuple(gateways)))
            case _:
                text = f"expected {form} (got {shortened(repr(one))})"
                problem(f"node {name}: routes", text)
    return routes


def spread_of(name: str, info: Mapping[str, Any], problem: OnProblem) -> Spread:
    """How a node uses routes with several gateways."""
    given = info.get("spread", "flows")
    if given in get_args(Spread):
        return "packets" if given == "packets" else "flows"
    problem(f"node {name}: spread", f'expected "flows" or "packets" (got {shown(given)})')
    return "flows"


def service_of(name: str, role: str, info: Mapping[str, Any], problem: OnProblem) -> str | None:
    """The service address of a node; None: it has none."""
    given = info.get("service")
    if given is None:
        return None
    if role != "server":
        problem(f"node {name}: service", f"only a server can have one (its role is {role})")
        return None
    try:
        ipaddress.ip_address(given)
    except ValueError:
        problem(
            f"node {name}: service",
            f"expected an address without a prefix, such as 10.100.0.1 (got {shown(given)})",
        )
        return None
    return str(given)
