r"""A tree of switches with the server at its root and clients at its leaves.

                        server
                          |
                          s1                     depth 2, fanout 2
              ===========/  \===========
                s2                   s3
              /    \              /    \
        client1  client2    client3  client4

The access network of many: what the server sends spreads out on its way down, what clients send
comes together on its way up. One segment, switched by Linux bridges. The bottlenecks are the links
of s1 to the next switches, both ways: 10 mbit/s, 5 ms, queue of 50 packets.
"""

from mininet.topo import Topo


class Tree(Topo):  # type: ignore[misc]  # mininet has no types
    """A tree of switches, clients at its leaves, a server at its root."""

    def build(self, depth: int = 2, fanout: int = 2) -> None:
        """Adds `depth` levels of switches, 1 to 6, and `fanout` below each, 1 to 60.

        There are fanout ** depth clients, at most 250.
        """
        if not 1 <= depth <= 6:
            raise ValueError(f"depth must lie in 1..6 (got {depth})")
        if not 1 <= fanout <= 60:
            raise ValueError(f"fanout must lie in 1..60 (got {fanout})")
        if fanout**depth > 250:
            raise ValueError(
                f"fanout ** depth, the number of clients, must be at most 250 (got {fanout**depth})"
            )
        self.addHost("server", role="server")
        self.addSwitch("s1")
        self.addLink("s1", "server")
        level, switches = ["s1"], 1
        for number in range(1, depth):
            below = []
            for parent in level:
                for _ in range(fanout):
                    switches += 1
                    below.append(self.addSwitch(f"s{switches}"))
                    self.addLink(parent, below[-1], **(BOTTLENECK if number == 1 else {}))
            level = below
        for i in range(len(level) * fanout):
            self.addHost(f"client{i + 1}", role="client")
            settings = {"bottleneck": "forward", "forward": SHAPED} if depth == 1 else {}
            self.addLink(level[i // fanout], f"client{i + 1}", **settings)


SHAPED = {"capacity": "10mbit", "delay": "5ms", "queue": "50p"}
BOTTLENECK = {"bottleneck": True, **SHAPED}

topos = {"tree": Tree}
