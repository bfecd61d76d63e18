"""A row of n routers between one client and one server.

    client --- r1 ------- r2 ------- ... ------- rn --- server
           <====    1 ms       1 ms       1 ms      ====>
        bottleneck                                bottleneck
              10 mbit/s, 10 ms, queue of 50 packets each

The network for what adds up hop by hop: transit times, queues in a row, journeys with many stages.
Whatever goes one way crosses exactly one bottleneck, on a router, as in `single_bottleneck`.
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


class Line(Topo):  # type: ignore[misc]
    """client - r1 - ... - rn - server."""

    def build(self, n: int = 3) -> None:
        """Adds `n` routers, 1 to 60: a packet starts with 64 hops to live."""
        if not 1 <= n <= 60:
            raise ValueError(f"n must lie in 1..60 (got {n})")
        bottleneck = {"capacity": "10mbit", "delay": "10ms", "queue": "50p"}
        self.addHost("client", role="client", ip="10.1.0.1/24", defaultRoute="via 10.1.0.254")
        for i in range(1, n + 1):
            # Link j joins r<j> (10.0.j.1) and r<j+1> (10.0.j.2).
            ip = f"10.0.{i - 1}.2/30" if i > 1 else "10.1.0.254/24"
            self.addNode(f"r{i}", cls=Router, role="router", ip=ip, routes=_routes(i, n))
        self.addHost("server", role="server", ip="10.2.0.1/24", defaultRoute="via 10.2.0.254")
        self.addLink("client", "r1", bottleneck="reverse", reverse=bottleneck)
        for i in range(1, n):
            self.addLink(f"r{i}", f"r{i + 1}", params1={"ip": f"10.0.{i}.1/30"}, delay="1ms")
        self.addLink(
            f"r{n}",
            "server",
            params1={"ip": "10.2.0.254/24"},
            bottleneck="forward",
            forward=bottleneck,
        )


def _routes(i: int, n: int) -> list[tuple[str, str]]:
    """Of router `i`: what lies towards the client by prefix, all else towards the server."""
    back = ["10.1.0.0/24", *(f"10.0.{j}.0/30" for j in range(1, i - 1))]
    routes = [(prefix, f"10.0.{i - 1}.1") for prefix in back] if i > 1 else []
    return [*routes, ("default", f"10.0.{i}.2")] if i < n else routes


topos = {"line": Line}
