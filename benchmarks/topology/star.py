"""The star that every subject builds: n hosts around one switch."""

from __future__ import annotations

from typing import Any

from testbed.network.topology import Topo

CAPACITY = "100mbit"
DELAY = "1ms"
QUEUE = "100p"


class PlainStar(Topo):  # type: ignore[misc]  # mininet has no types
    """Unshaped links, for stock Mininet."""

    def build(self, n: int, **link: Any) -> None:
        """Adds the switch and `n` hosts, each with a link."""
        self.addSwitch("s1")
        for number in range(1, n + 1):
            self.addHost(f"h{number}")
            self.addLink(f"h{number}", "s1", **link)


class TcStar(PlainStar):
    """Mininet's own shaping: `TCLink` with a capacity, both ways as it always is."""

    def build(self, n: int, **_link: Any) -> None:
        """Adds the switch and `n` hosts, each with a link of 100 Mbit/s."""
        from mininet.link import TCLink

        super().build(n, cls=TCLink, bw=100, use_htb=True)


class CapacityStar(PlainStar):
    """Each link 100 Mbit/s towards its host, with a queue of 100 packets."""

    def build(self, n: int, **_link: Any) -> None:
        """Adds the switch and `n` hosts, each with a shaped link."""
        super().build(n, reverse={"capacity": CAPACITY, "queue": QUEUE})


class DelayStar(PlainStar):
    """The same with a delay of 1 ms both ways: a wire in the middle of each link."""

    def build(self, n: int, **_link: Any) -> None:
        """Adds the switch and `n` hosts, each with a shaped link."""
        shaped = {"capacity": CAPACITY, "queue": QUEUE}
        super().build(n, reverse=shaped, delay=DELAY)
