r"""Two paths of unequal length between two routers, packets or flows spread over them.

                   /=== fast ---\           20 mbit/s, 10 ms, queue of 100 packets
    client --- r1 <              > r2 --- server
                   \=== slow ---/           20 mbit/s, 30 ms, queue of 100 packets

Reordering that nothing imitates: with `spread=packets` r1 and r2 send every second packet the slow
way, and one that went there is overtaken by the next if that follows within the difference of the
two delays. With `spread=flows` each connection has one way (equal-cost multipath: by a hash of its
addresses and ports), and nothing is overtaken.
"""

from typing import Any

from mininet.node import Node
from mininet.topo import Topo


class Router(Node):  # type: ignore[misc]  # mininet has no types
    """A node that forwards IPv4, for plain Mininet: the testbed sets all of this itself."""

    def config(self, routes: Any = (), spread: str = "flows", **params: Any) -> None:
        """Configures the node as Mininet does, turns forwarding on and adds `routes`."""
        super().config(**params)
        self.cmd("sysctl -w net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_policy=1")
        for prefix, gateways in routes:
            if isinstance(gateways, str):
                self.cmd("ip route replace", prefix, "via", gateways)
            elif spread == "flows":
                self.cmd("ip route replace", prefix, *(f"nexthop via {one}" for one in gateways))
            else:
                self._spread_packets(prefix, gateways)

    def _spread_packets(self, prefix: str, gateways: list[str]) -> None:
        """Marks packets in turn, and has a routing table for each mark."""
        self.cmd("ip route replace", prefix, "via", gateways[0])
        for mark, gateway in enumerate(gateways[1:], 1):
            self.cmd("ip route replace", prefix, "via", gateway, "table", 100 + mark)
            self.cmd("ip rule add fwmark", mark, "table", 100 + mark)
        self.cmd("nft add table ip spread")
        self.cmd("nft add chain ip spread marks '{ type filter hook prerouting priority mangle; }'")
        self.cmd(
            "nft add rule ip spread marks ip daddr", prefix,
            "meta mark set numgen inc mod", len(gateways),
        )  # fmt: skip


class TwoPaths(Topo):  # type: ignore[misc]
    """client - r1 = fast or slow = r2 - server."""

    def build(self, spread: str = "packets", fast_ms: float = 10, slow_ms: float = 30) -> None:
        """Adds the nodes and links.

        `spread` is "packets" or "flows"; the delays lie in 0..10000, `fast_ms` below `slow_ms`.
        """
        if spread not in ("packets", "flows"):
            raise ValueError(f"spread must be packets or flows (got {spread})")
        if not 0 <= fast_ms <= 10_000:
            raise ValueError(f"fast_ms must lie in 0..10000 (got {fast_ms})")
        if not fast_ms <= slow_ms <= 10_000:
            raise ValueError(
                f"slow_ms must lie in {fast_ms}..10000, from fast_ms on (got {slow_ms})"
            )
        self.addHost("client", role="client", ip="10.1.0.1/24", defaultRoute="via 10.1.0.254")
        self._add_router(
            "r1", "10.1.0.254/24", spread,
            ("10.2.0.0/24", ["10.0.1.2", "10.0.3.2"]),
            ("10.0.2.0/30", "10.0.1.2"),
            ("10.0.4.0/30", "10.0.3.2"),
        )  # fmt: skip
        for path, near, far, other_near, other_far in (("fast", 1, 2, 3, 4), ("slow", 3, 4, 1, 2)):
            self._add_router(
                path, f"10.0.{near}.2/30", "flows",
                ("10.1.0.0/24", f"10.0.{near}.1"),
                (f"10.0.{other_near}.0/30", f"10.0.{near}.1"),
                ("10.2.0.0/24", f"10.0.{far}.2"),
                (f"10.0.{other_far}.0/30", f"10.0.{far}.2"),
            )  # fmt: skip
        self._add_router(
            "r2", "10.2.0.254/24", spread,
            ("10.1.0.0/24", ["10.0.2.1", "10.0.4.1"]),
            ("10.0.1.0/30", "10.0.2.1"),
            ("10.0.3.0/30", "10.0.4.1"),
        )  # fmt: skip
        self.addHost("server", role="server", ip="10.2.0.1/24", defaultRoute="via 10.2.0.254")
        self.addLink("client", "r1")
        self.addLink("r2", "server")
        for path, near, far, delay_ms in (("fast", 1, 2, fast_ms), ("slow", 3, 4, slow_ms)):
            self.addLink(
                "r1",
                path,
                params1={"ip": f"10.0.{near}.1/30"},
                bottleneck=True,
                capacity="20mbit",
                delay=f"{delay_ms}ms",
                queue="100p",
            )
            self.addLink(
                path,
                "r2",
                params1={"ip": f"10.0.{far}.1/30"},
                params2={"ip": f"10.0.{far}.2/30"},
            )

    def _add_router(self, name: str, ip: str, spread: str, *routes: tuple[str, Any]) -> None:
        self.addNode(name, cls=Router, role="router", ip=ip, routes=list(routes), spread=spread)


topos = {"two_paths": TwoPaths}
