r"""A long way through several bottlenecks, each shared with a flow of its own.

    client0 --- r1 ===bottleneck=== r2 ===bottleneck=== r3 --- server0
               /                   /  \                   \
       client1 -                   -    - server1          - server2
                            client2

The parking lot of the fairness literature: the long flow (client0 to server0) meets one cross flow
at each hop (client1 to server1 at the first, client2 to server2 at the second, ...), and each of
them has a shorter round trip. Each bottleneck: 10 mbit/s, 10 ms, queue of 50 packets each way.
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


class ParkingLot(Topo):  # type: ignore[misc]
    """A long flow over `hops` bottlenecks, and a cross flow at each."""

    def build(self, hops: int = 2) -> None:
        """Adds `hops` bottlenecks, 1 to 60, between hops + 1 routers."""
        if not 1 <= hops <= 60:
            raise ValueError(f"hops must lie in 1..60 (got {hops})")
        # Where each host sits: its segment, and the number of its router.
        clients = [1, *range(1, hops + 1)]
        servers = [hops + 1, *range(2, hops + 2)]
        sites = {
            f"10.{side}.{i}": r
            for side, at in ((1, clients), (2, servers))
            for i, r in enumerate(at)
        }
        for r in range(1, hops + 2):
            ip = f"10.0.{r - 1}.2/30" if r > 1 else "10.0.1.1/30"
            routes = _routes(r, hops, sites)
            self.addNode(f"r{r}", cls=Router, role="router", ip=ip, routes=routes)
        for r in range(1, hops + 1):
            self.addLink(
                f"r{r}",
                f"r{r + 1}",
                params1={"ip": f"10.0.{r}.1/30"},
                bottleneck=True,
                capacity="10mbit",
                delay="10ms",
                queue="50p",
            )
        for side, kind, at in ((1, "client", clients), (2, "server", servers)):
            for i, r in enumerate(at):
                net = f"10.{side}.{i}"
                self.addHost(
                    f"{kind}{i}", role=kind, ip=f"{net}.1/24", defaultRoute=f"via {net}.254"
                )
                self.addLink(f"{kind}{i}", f"r{r}", params2={"ip": f"{net}.254/24"})


def _routes(r: int, hops: int, sites: dict[str, int]) -> list[tuple[str, str]]:
    """Of router `r`: to each segment of hosts, and to the links between routers."""
    before, after = f"10.0.{r - 1}.1", f"10.0.{r}.2"
    routes = [
        (f"{net}.0/24", before if site < r else after) for net, site in sites.items() if site != r
    ]
    # Link j joins r<j> and r<j+1>: those of this router are j = r - 1 and j = r.
    links = [j for j in range(1, hops + 1) if j not in (r - 1, r)]
    return routes + [(f"10.0.{j}.0/30", before if j < r else after) for j in links]


topos = {"parking_lot": ParkingLot}
