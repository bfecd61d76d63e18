"""One client and one server with a bottleneck router between them.

    client ------------- r1 ------------- server
            <==========      ==========>
             bottleneck       bottleneck         10 mbit/s, 10 ms, queue of 50 packets each

The smallest network in which a queue can build up. Whatever goes from the client to the server,
and whatever comes back, crosses exactly one bottleneck, and both queues stand on the router, never
on a host: a host that drops its own packets would tell its TCP so.
"""

from typing import Any

from mininet.node import Node
from mininet.topo import Topo


class Router(Node):  # type: ignore[misc]  # mininet has no types
    """A node that forwards IPv4, for plain Mininet: the testbed sets forwarding itself."""

    def config(self, **params: Any) -> None:
        """Configures the node as Mininet does, and turns forwarding on."""
        super().config(**params)
        self.cmd("sysctl -w net.ipv4.ip_forward=1")


class SingleBottleneck(Topo):  # type: ignore[misc]
    """client - r1 - server."""

    def build(self) -> None:
        """Adds the nodes and links; takes no options."""
        bottleneck = {"capacity": "10mbit", "delay": "10ms", "queue": "50p"}
        self.addHost("client", role="client", ip="10.0.0.1/24", defaultRoute="via 10.0.0.254")
        self.addNode("r1", cls=Router, role="router", ip="10.0.0.254/24")
        self.addHost("server", role="server", ip="10.0.1.1/24", defaultRoute="via 10.0.1.254")
        self.addLink("client", "r1", bottleneck="reverse", reverse=bottleneck)
        self.addLink(
            "r1",
            "server",
            params1={"ip": "10.0.1.254/24"},
            bottleneck="forward",
            forward=bottleneck,
        )


topos = {"single_bottleneck": SingleBottleneck}
