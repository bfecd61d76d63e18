r"""A home behind an asymmetric access line, with a modem whose queue is big or small.

    client1 ---\                                       /--- server
                home ====up====> <====down==== isp ---/
    client2 ---/       2 mbit/s     20 mbit/s
                            10 ms each way

The network of bufferbloat: a modem that holds a second of packets (`queue=big`) makes everybody at
home wait for whoever uploads; one that holds 50 ms (`queue=small`) does not. Uploads and the
acknowledgements of downloads share the queue of `home`, downloads that of `isp`.
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
QUEUES_MS = {"big": 1000, "small": 50}


class AccessLink(Topo):  # type: ignore[misc]
    """clients - home = isp - server, asymmetric between home and isp."""

    def build(
        self,
        clients: int = 1,
        down_mbit_s: float = 20,
        up_mbit_s: float = 2,
        delay_ms: float = 10,
        queue: str = "big",
    ) -> None:
        """Adds `clients` (1 to 250) at home, and the line.

        Its queues hold a second ("big") or 50 ms ("small") of full frames, two at least.
        """
        if not 1 <= clients <= 250:
            raise ValueError(f"clients must lie in 1..250 (got {clients})")
        for name, rate in (("down_mbit_s", down_mbit_s), ("up_mbit_s", up_mbit_s)):
            if not 0.01 <= rate <= 10_000:
                raise ValueError(f"{name} must lie in 0.01..10000 (got {rate})")
        if not 0 <= delay_ms <= 10_000:
            raise ValueError(f"delay_ms must lie in 0..10000 (got {delay_ms})")
        if queue not in QUEUES_MS:
            raise ValueError(f"queue must be big or small (got {queue})")
        self.addNode(
            "home", cls=Router, role="router", ip="10.0.0.1/30", routes=[("default", "10.0.0.2")]
        )
        self.addNode(
            "isp", cls=Router, role="router", ip="10.0.0.2/30", routes=[("default", "10.0.0.1")]
        )
        self.addLink(
            "home",
            "isp",
            bottleneck=True,
            delay=f"{delay_ms}ms",
            forward=_shaped(up_mbit_s, QUEUES_MS[queue]),
            reverse=_shaped(down_mbit_s, QUEUES_MS[queue]),
        )
        for i in range(1, clients + 1):
            net = f"10.1.{i}"
            self.addHost(
                f"client{i}", role="client", ip=f"{net}.1/24", defaultRoute=f"via {net}.254"
            )
            self.addLink(f"client{i}", "home", params2={"ip": f"{net}.254/24"})
        self.addHost("server", role="server", ip="10.2.0.1/24", defaultRoute="via 10.2.0.254")
        self.addLink("isp", "server", params1={"ip": "10.2.0.254/24"})


def _shaped(rate_mbit_s: float, queue_ms: float) -> dict[str, str]:
    packets = max(2, round(rate_mbit_s * 1000 * queue_ms / FRAME_BITS))
    return {"capacity": f"{round(rate_mbit_s * 1e6)}bit", "queue": f"{packets}p"}


topos = {"access_link": AccessLink}
