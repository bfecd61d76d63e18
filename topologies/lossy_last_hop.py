"""A client behind a lossy last hop, such as Wi-Fi, far from its server.

    client ~~~~lossy~~~~ ap ------------- server
           <===========
            bottleneck          10 ms
            20 mbit/s, 2 ms and up to 1 ms more or less, queue of 100 packets,
            losses in bursts, both ways

Losses that no queue has to do with: TCP takes them for congestion, and a window that has just been
halved stands idle. Bursts follow Gilbert and Elliott. What comes from the server queues at the
access point; the client's own queue is not shaped, and the two directions do not share the air.
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


class LossyLastHop(Topo):  # type: ignore[misc]
    """client ~ ap - server."""

    def build(self, loss_percent: float = 1, burst_packets: float = 3) -> None:
        """Adds the nodes and links.

        The last hop loses `loss_percent` (0 to 50) of the packets in the long run, each way, on
        average `burst_packets` (1 to 100) in a row.
        """
        if not 0 <= loss_percent <= 50:
            raise ValueError(f"loss_percent must lie in 0..50 (got {loss_percent})")
        if not 1 <= burst_packets <= 100:
            raise ValueError(f"burst_packets must lie in 1..100 (got {burst_packets})")
        air = {"delay": "2ms", "delay_variation": "1ms", "loss": _loss(loss_percent, burst_packets)}
        self.addHost("client", role="client", ip="10.0.0.1/24", defaultRoute="via 10.0.0.254")
        self.addNode("ap", cls=Router, role="router", ip="10.0.0.254/24")
        self.addHost("server", role="server", ip="10.0.1.1/24", defaultRoute="via 10.0.1.254")
        self.addLink(
            "client",
            "ap",
            bottleneck="reverse",
            forward=air,
            reverse={**air, "capacity": "20mbit", "queue": "100p"},
        )
        self.addLink("ap", "server", params1={"ip": "10.0.1.254/24"}, delay="10ms")


def _loss(loss_percent: float, burst_packets: float) -> str:
    """The chain of two states: every packet of the bad one is lost, none of the good one.

    A stay in the bad state lasts 1/r packets, and p/(p + r) of the packets fall into it.
    """
    if loss_percent == 0:
        return "0"
    lost, r = loss_percent / 100, 1 / burst_packets
    return f"gilbert-elliott p {100 * r * lost / (1 - lost):.6f}% r {100 * r:.6f}%"


topos = {"lossy_last_hop": LossyLastHop}
