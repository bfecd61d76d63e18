r"""A data centre's fat tree of k pods, by Al-Fares, Loukissas and Vahdat (2008).

         c0_0   c0_1        c1_0   c1_1       (k/2)^2 core routers, joined to every pod by
             \   /              \   /           ===== bottlenecks: 20 mbit/s, 0.1 ms,
             a0_0               a0_1                  queue of 100 packets, both ways
              |   \           /   |
              |       \   /       |           a pod (k = 4): k/2 aggregation routers,
              |       /   \       |
              |   /           \   |
             e0_0               e0_1          k/2 edge routers,
             /   \              /   \
        h0_0_0   h0_0_1    h0_1_0   h0_1_1    k/2 hosts on each: h<pod>_<edge>_<number>

All links between routers have the same capacity, and between two pods there are (k/2)^2 ways of
the same length. Routers at every layer: switches would form loops. Which way a packet takes is
decided by the number of its destination under its edge router, as in the paper (its section 3.5):
edge router e sends host number i up to aggregation router (i + e) mod k/2, aggregation router a to
core router (i + a) mod k/2 of its group. So each flow has one way, always the same.

The first `pairs` hosts of the first half of the pods are clients, the same of the second half
servers: every request crosses the core.
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


LINK = {"capacity": "20mbit", "queue": "100p"}
Routes = list[tuple[str, str]]


class FatTree(Topo):  # type: ignore[misc]
    """k pods of k/2 edge and k/2 aggregation routers, (k/2)^2 core routers, k^3/4 hosts."""

    def build(self, k: int = 4, pairs: int = 2) -> None:
        """Adds `k` pods, an even number from 2 to 8, and `pairs` of client and server (1 to k^3/8).

        Addresses: hosts 10.POD.EDGE.0/24 in pieces of /30, links from edge to aggregation
        10.100+POD.EDGE, from aggregation to core 10.150+POD.AGGREGATION.
        """
        if k not in (2, 4, 6, 8):
            raise ValueError(f"k must be 2, 4, 6 or 8 (got {k})")
        if not 1 <= pairs <= k**3 // 8:
            raise ValueError(f"pairs must lie in 1..{k**3 // 8} for k = {k} (got {pairs})")
        half = k // 2
        for group, j in _product(half, half):
            self.addNode(
                f"c{group}_{j}",
                cls=Router,
                role="router",
                ip=f"10.150.{group}.{4 * j + 2}/30",
                routes=_core_routes(k, group, j),
            )
        for pod in range(k):
            self._add_pod(k, pod)
        for pod, edge in _product(k, half):
            for i in range(half):
                self._add_host(k, pairs, pod, edge, i)

    def _add_pod(self, k: int, pod: int) -> None:
        half = k // 2
        for a in range(half):
            self.addNode(
                f"a{pod}_{a}",
                cls=Router,
                role="router",
                ip=f"10.{150 + pod}.{a}.1/30",
                routes=_aggregation_routes(k, pod, a),
            )
            for j in range(half):
                net = f"10.{150 + pod}.{a}"
                self.addLink(
                    f"a{pod}_{a}",
                    f"c{a}_{j}",
                    params1={"ip": f"{net}.{4 * j + 1}/30"},
                    params2={"ip": f"{net}.{4 * j + 2}/30"},
                    bottleneck=True,
                    delay="0.1ms",
                    **LINK,
                )
        for e in range(half):
            self.addNode(
                f"e{pod}_{e}",
                cls=Router,
                role="router",
                ip=f"10.{100 + pod}.{e}.1/30",
                routes=_edge_routes(k, pod, e),
            )
            for a in range(half):
                net = f"10.{100 + pod}.{e}"
                self.addLink(
                    f"e{pod}_{e}",
                    f"a{pod}_{a}",
                    params1={"ip": f"{net}.{4 * a + 1}/30"},
                    params2={"ip": f"{net}.{4 * a + 2}/30"},
                    **LINK,
                )

    def _add_host(self, k: int, pairs: int, pod: int, edge: int, i: int) -> None:
        half = k // 2
        side, number = divmod((pod * half + edge) * half + i, half * half * half)
        role = ("client", "server")[side] if number < pairs else "host"
        net, name = f"10.{pod}.{edge}", f"h{pod}_{edge}_{i}"
        gateway = f"{net}.{4 * i + 1}"
        self.addHost(name, role=role, ip=f"{net}.{4 * i + 2}/30", defaultRoute=f"via {gateway}")
        self.addLink(f"e{pod}_{edge}", name, params1={"ip": f"{gateway}/30"}, forward=LINK)


def _product(first: int, second: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(first) for b in range(second)]


def _host_prefixes(k: int, pod: int) -> list[tuple[int, int, str]]:
    """Edge, number and prefix of each host of a pod."""
    half = k // 2
    return [(e, i, f"10.{pod}.{e}.{4 * i}/30") for e, i in _product(half, half)]


def _edge_routes(k: int, pod: int, e: int) -> Routes:
    """Up: hosts by their number, the links of routers by where they hang."""
    half = k // 2

    def up(a: int) -> str:
        return f"10.{100 + pod}.{e}.{4 * (a % half) + 2}"

    hosts = [
        (prefix, up(i + e))
        for other in range(k)
        for f, i, prefix in _host_prefixes(k, other)
        if (other, f) != (pod, e)
    ]
    pods = [(f"10.{100 + other}.0.0/16", up(0)) for other in range(k)]
    cores = [(f"10.{150 + other}.{a}.0/24", up(a)) for other, a in _product(k, half)]
    return hosts + pods + cores


def _aggregation_routes(k: int, pod: int, a: int) -> Routes:
    """Down into its own pod by edge router, up to the core for all else."""
    half = k // 2

    def down(e: int) -> str:
        return f"10.{100 + pod}.{e}.{4 * a + 1}"

    def up(j: int) -> str:
        return f"10.{150 + pod}.{a}.{4 * (j % half) + 2}"

    own = [(f"10.{base + pod}.{e}.0/24", down(e)) for base in (0, 100) for e in range(half)]
    others = [other for other in range(k) if other != pod]
    hosts = [(prefix, up(i + a)) for other in others for _, i, prefix in _host_prefixes(k, other)]
    pods = [(f"10.{100 + other}.0.0/16", up(0)) for other in others]
    cores = [(f"10.{150 + other}.{a}.{4 * j}/30", up(j)) for other in others for j in range(half)]
    # Other groups of the core are reached through the other aggregation routers of the pod.
    groups = [(f"10.{150 + other}.{b}.0/24", down(0)) for other, b in _product(k, half) if b != a]
    return own + hosts + pods + cores + groups


def _core_routes(k: int, group: int, j: int) -> Routes:
    """Down to the pod, through the aggregation router of its group."""
    return [
        (f"10.{base + pod}.0.0/16", f"10.{150 + pod}.{group}.{4 * j + 1}")
        for base in (0, 100, 150)
        for pod in range(k)
    ]


topos = {"fat_tree": FatTree}
