"""A long, fat path: a geostationary satellite between two ground stations.

    client --- terminal ~~~~~~~~~~~~ hub --- server
                    <==============>
                       bottleneck         20 mbit/s, 270 ms, queue of one bandwidth-delay product

The network in which windows are the limit: 1.35 MB are under way before the first acknowledgement
is back. 270 ms is the way up and down (71 600 km at least) with what stations take to process.
"""

from typing import Any

from mininet.node import Node
from mininet.topo import Topo


class Router(Node):  # type: ignore[misc]  # mininet has no types
    """A node that forwards IPv4, for plain Mininet: the testbed sets all of this itself."""

    def config(self, routes: Any = (), **params: Any) -> None:
        """Configures the node as Mininet does, turns forwarding on and adds `routes`."""
        super().config(**params)
        self.cmd("sysctl -w net.ipv4.ip_forward=1")
        for prefix, gateway in routes:
            self.cmd("ip route replace", prefix, "via", gateway)


FRAME_BITS = 1514 * 8


class Satellite(Topo):  # type: ignore[misc]
    """client - terminal ~ hub - server."""

    def build(
        self, capacity_mbit_s: float = 20, delay_ms: float = 270, queue_bdp: float = 1
    ) -> None:
        """Adds the nodes and links.

        The satellite's link: its capacity (0.01 to 10000), its one-way delay (0 to 10000), and its
        queue each way in bandwidth-delay products (0.01 to 100; two packets at least).
        """
        if not 0.01 <= capacity_mbit_s <= 10_000:
            raise ValueError(f"capacity_mbit_s must lie in 0.01..10000 (got {capacity_mbit_s})")
        if not 0 <= delay_ms <= 10_000:
            raise ValueError(f"delay_ms must lie in 0..10000 (got {delay_ms})")
        if not 0.01 <= queue_bdp <= 100:
            raise ValueError(f"queue_bdp must lie in 0.01..100 (got {queue_bdp})")
        packets = max(2, round(queue_bdp * capacity_mbit_s * 1000 * 2 * delay_ms / FRAME_BITS))
        self.addHost("client", role="client", ip="10.1.0.1/24", defaultRoute="via 10.1.0.254")
        self.addNode(
            "terminal",
            cls=Router,
            role="router",
            ip="10.1.0.254/24",
            routes=[("default", "10.0.0.2")],
        )
        self.addNode(
            "hub", cls=Router, role="router", ip="10.0.0.2/30", routes=[("default", "10.0.0.1")]
        )
        self.addHost("server", role="server", ip="10.2.0.1/24", defaultRoute="via 10.2.0.254")
        self.addLink("client", "terminal")
        self.addLink(
            "terminal",
            "hub",
            params1={"ip": "10.0.0.1/30"},
            bottleneck=True,
            capacity=f"{round(capacity_mbit_s * 1e6)}bit",
            delay=f"{delay_ms}ms",
            queue=f"{packets}p",
        )
        self.addLink("hub", "server", params1={"ip": "10.2.0.254/24"})


topos = {"satellite": Satellite}
