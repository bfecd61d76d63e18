r"""n hosts around one switch, or around one router.

    client1 ---\            /--- client3
                \          /
                 s1 or r1 ------- server
                /      ====>
    client2 ---/     bottleneck        towards each host: 20 mbit/s, 1 ms, queue of 100 packets

The smallest network in which many meet at one place: several clients answer to one queue, that
towards the server (incast). With `bridge` the middle is a Linux bridge and all hosts share one
segment; without it is a router and each host has a segment of its own.
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


class Star(Topo):  # type: ignore[misc]
    """n hosts around one switch or router."""

    def build(self, n: int = 4, bridge: bool = True) -> None:
        """Adds `n` hosts, 2 to 250: the last one is the server; `bridge`: around a switch."""
        if not 2 <= n <= 250:
            raise ValueError(f"n must lie in 2..250 (got {n})")
        middle = "s1" if bridge else "r1"
        if bridge:
            self.addSwitch(middle)
        else:
            self.addNode(middle, cls=Router, role="router", ip="10.0.1.254/24")
        towards_host = {"capacity": "20mbit", "delay": "1ms", "queue": "100p"}
        for i in range(1, n + 1):
            name, role = (f"client{i}", "client") if i < n else ("server", "server")
            if bridge:
                self.addHost(name, role=role, ip=f"10.0.0.{i}/24")
                gateway = {}
            else:
                gateway = {"params2": {"ip": f"10.0.{i}.254/24"}}
                self.addHost(name, role=role, ip=f"10.0.{i}.1/24", defaultRoute=f"via 10.0.{i}.254")
            self.addLink(name, middle, bottleneck="reverse", reverse=towards_host, **gateway)


topos = {"star": Star}
