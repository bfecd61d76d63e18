"""Settings of the server and of nodes that are not at their defaults, in words (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from testbed.scenario.model import DEFAULT_BACKLOG

_PLAIN: Final = {
    "workers": ("{} workers", 1),
    "backlog": ("backlog {}", DEFAULT_BACKLOG),
    "receive_buffer": ("receive buffer {}", None),
    "send_buffer": ("send buffer {}", None),
    "app_environment": ("packages of {}", None),
}
"""Key of a scenario -> what is said of it, and a value that is not worth a word."""


def described(scenario: Mapping[str, Any]) -> list[str]:
    """``2 workers``, ``backlog 8``, ``server: descriptors 64, net.ipv4.tcp_sack 0``."""
    found = []
    for key, (words, usual) in _PLAIN.items():
        value = scenario.get(key)
        if value is not None and value != usual:
            found.append(words.format(value))
    for name, node in (scenario.get("nodes") or {}).items():
        limit = node.get("descriptors")
        settings = [] if limit is None else [f"descriptors {limit}"]
        settings += [f"{key} {value}" for key, value in (node.get("sysctls") or {}).items()]
        if settings:
            found.append(f"{name}: {', '.join(settings)}")
    return found
