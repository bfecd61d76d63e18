"""What a `Topo` says of a node: what is taken, what is refused, what has no effect. Pure.

The testbed sets nodes up itself and calls no `config` method of a node's class: what Mininet would
act upon and the testbed does not is refused or warned of, never passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

OnProblem = Callable[[str, str], None]
OnWarning = Callable[[str], None]

_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_NO_EFFECT: Final = {
    "cpu": "every process has what the machine gives",
    "cores": "every process has what the machine gives",
    "privateDirs": "nodes share the machine's folders",
    "lo": "the loopback interface is up",
}
"""What Mininet's own classes of hosts take (`Node.config`, `CPULimitedHost.config`)."""


def check(
    name: str, info: Mapping[str, Any], *, forwards: bool, problem: OnProblem, warning: OnWarning
) -> None:
    """Tells what of a node cannot be had.

    Args:
        name: of the node.
        info: what the `Topo` says of it.
        forwards: it is a router or a switch.
        problem: is told the place and what is wrong.
        warning: is told what has no effect.
    """
    classes = _classes(info)
    if any(cls.__name__ == "NAT" for cls in classes):
        problem(
            f"node {name}: cls",
            'NAT translates addresses, which no node does here; with role="router" and without '
            "NAT it joins both sides",
        )
        return
    for key, why in _NO_EFFECT.items():
        if info.get(key):
            warning(f"node {name}: {key} has no effect: {why}")
    own = next((cls for cls in classes if "config" in vars(cls)), None)
    if own is not None and not own.__module__.startswith("mininet.") and not forwards:
        warning(
            f"node {name}: {own.__name__}.config is not called: what it does to the host is missing"
        )


def looks_like_router(name: str, info: Mapping[str, Any]) -> bool:
    """Whether its name, its class or what is said of it make a node without a role a router."""
    names = [name, *(cls.__name__ for cls in _classes(info))]
    return bool(info.get("ip_forward")) or any("router" in text.lower() for text in names)


def mac(text: str, where: str, problem: OnProblem) -> str:
    """A MAC address as it reads back; what is none is a problem."""
    found = text.lower()
    if _MAC.fullmatch(found) is None or int(found[:2], 16) & 1:
        problem(
            where,
            f'expected the MAC address of one station, such as 02:00:00:00:00:01 (got "{text}")',
        )
    return found


def _classes(info: Mapping[str, Any]) -> tuple[type, ...]:
    cls = info.get("cls")
    return cls.__mro__ if isinstance(cls, type) else ()
