"""Whether clients and servers of a plan can talk: each packet followed by the routes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from testbed.errors import Problem
from testbed.network.addressing import NodeAddressing
from testbed.network.routing import Forwarding


def problems(
    addressing: Mapping[str, NodeAddressing], targets: Mapping[str, Sequence[str]]
) -> list[Problem]:
    """Why clients cannot talk to whom they ask, one problem for each client.

    Args:
        addressing: of every node.
        targets: the addresses that each client asks.
    """
    owners: dict[str, list[str]] = {}
    for name, node in addressing.items():
        for text in (*node.addresses, *([node.service] if node.service else [])):
            owners.setdefault(text.partition("/")[0], []).append(name)
    forwarding = Forwarding({name: node.routes for name, node in addressing.items()}, owners)
    found = []
    for client, addresses in targets.items():
        own = addressing[client].addresses
        if not own:
            continue  # it is connected to nothing, which is a problem of its own
        back = own[0].partition("/")[0]
        for address in addresses:
            servers = owners.get(address, [])
            why = forwarding.obstacle(client, address) or next(
                (why for server in servers if (why := forwarding.obstacle(server, back))), None
            )
            if why is not None:
                text = f"cannot talk to {' or '.join(servers)}: {why}"
                found.append(Problem(f"node {client}", text))
                break
    return found
