r"""One client, a balancer, and n servers that share one address.

                            /====> server1
    client ------------- lb            ...        10.100.0.1, on each of them
            <==========     \====> server<n>
             bottleneck       bottlenecks         20 mbit/s, 5 ms, queue of 50 packets each

How large services are reached: every server has the service address on its loopback device
(anycast), the balancer knows a way of the same cost to each, and spreads connections over them by a
hash of their addresses and ports (equal-cost multipath). A connection stays with its server, so
requests spread as far as connections do: `--new-connections`, or many users.
"""

from typing import Any

from mininet.node import Node
from mininet.topo import Topo

SERVICE = "10.100.0.1"


class Balancer(Node):  # type: ignore[misc]  # mininet has no types
    """A router with equal-cost routes, for plain Mininet: the testbed sets all of this itself."""

    def config(self, routes: Any = (), **params: Any) -> None:
        """Configures the node as Mininet does, turns forwarding on and adds `routes`."""
        super().config(**params)
        self.cmd("sysctl -w net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_policy=1")
        for prefix, gateways in routes:
            self.cmd("ip route replace", prefix, *(f"nexthop via {one}" for one in gateways))


class Server(Node):  # type: ignore[misc]
    """A host with a service address, for plain Mininet."""

    def config(self, service: str = "", **params: Any) -> None:
        """Configures the node as Mininet does, and adds `service` to its loopback device."""
        super().config(**params)
        self.cmd("ip address add", service, "dev lo")


class LoadBalancer(Topo):  # type: ignore[misc]
    """client - lb - server1 ... server<n>."""

    def build(self, n: int = 2) -> None:
        """Adds `n` servers, 1 to 250."""
        if not 1 <= n <= 250:
            raise ValueError(f"n must lie in 1..250 (got {n})")
        bottleneck = {"capacity": "20mbit", "delay": "5ms", "queue": "50p"}
        servers = range(1, n + 1)
        self.addHost("client", role="client", ip="10.0.0.1/24", defaultRoute="via 10.0.0.254")
        self.addNode(
            "lb",
            cls=Balancer,
            role="router",
            ip="10.0.0.254/24",
            routes=[(f"{SERVICE}/32", [f"10.1.{i}.1" for i in servers])],
        )
        self.addLink("client", "lb", bottleneck="reverse", reverse=bottleneck)
        for i in servers:
            self.addHost(
                f"server{i}",
                cls=Server,
                role="server",
                ip=f"10.1.{i}.1/24",
                service=SERVICE,
                defaultRoute=f"via 10.1.{i}.254",
            )
            self.addLink(
                "lb",
                f"server{i}",
                params1={"ip": f"10.1.{i}.254/24"},
                bottleneck="forward",
                forward=bottleneck,
            )


topos = {"load_balancer": LoadBalancer}
