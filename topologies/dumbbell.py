r"""n clients and n servers that share one link between two routers.

    client1 ---\                        /--- server1
                r1 ====bottleneck==== r2
    client2 ---/                        \--- server2
                   10 mbit/s, 10 ms,
                   queue of 50 packets each way

The classic network for congestion and fairness: each pair has a flow of its own, all of them queue
at r1 on the way out and at r2 on the way back.
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


class Dumbbell(Topo):  # type: ignore[misc]
    """n client-server pairs, two routers, one bottleneck."""

    def build(self, n: int = 2) -> None:
        """Adds `n` pairs, 1 to 250."""
        if not 1 <= n <= 250:
            raise ValueError(f"n must lie in 1..250 (got {n})")
        for name, ip, other in (("r1", "10.0.0.1", "10.0.0.2"), ("r2", "10.0.0.2", "10.0.0.1")):
            routes = [("default", other)]
            self.addNode(name, cls=Router, role="router", ip=f"{ip}/30", routes=routes)
        self.addLink(
            "r1", "r2", bottleneck=True, capacity="10mbit", delay="10ms", queue="50p"
        )  # fmt: skip
        for pair in range(1, n + 1):
            for side, kind in ((1, "client"), (2, "server")):
                gateway = f"10.{side}.{pair}.254"
                self.addHost(
                    f"{kind}{pair}",
                    role=kind,
                    ip=f"10.{side}.{pair}.1/24",
                    defaultRoute=f"via {gateway}",
                )
                self.addLink(f"{kind}{pair}", f"r{side}", params2={"ip": f"{gateway}/24"})


topos = {"dumbbell": Dumbbell}
