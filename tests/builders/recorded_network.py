"""The network client - r1 - server of `recordings`: its addresses, and who is at which end."""

from __future__ import annotations

from typing import Literal

from testbed.recording.manifest import Interface, Node

End = Literal["client", "server"]
Place = Literal["client-r1", "r1-server", "queue"]
ADDRESS = {"client": "10.0.0.1", "server": "10.0.1.1"}
MAC = {
    "client-eth0": "02:00:00:00:01:01",
    "r1-eth0": "02:00:00:00:01:02",
    "r1-eth1": "02:00:00:00:02:01",
    "server-eth0": "02:00:00:00:02:02",
}
Way = tuple[str, str]
HOPS: dict[str, list[Way]] = {
    "server": [("client-r1", "forward"), ("r1-server", "forward")],
    "client": [("r1-server", "reverse"), ("client-r1", "reverse")],
}
ENDS: dict[Way, tuple[str, str, str, str]] = {
    ("client-r1", "forward"): ("client", "client-eth0", "r1", "r1-eth0"),
    ("client-r1", "reverse"): ("r1", "r1-eth0", "client", "client-eth0"),
    ("r1-server", "forward"): ("r1", "r1-eth1", "server", "server-eth0"),
    ("r1-server", "reverse"): ("server", "server-eth0", "r1", "r1-eth1"),
}


def nodes() -> list[Node]:
    def interface(name: str, address: str) -> Interface:
        return Interface(name=name, mac=MAC[name], addresses=[address])

    return [
        Node(name="client", role="client", interfaces=[interface("client-eth0", "10.0.0.1/24")]),
        Node(
            name="r1",
            role="router",
            interfaces=[
                interface("r1-eth0", "10.0.0.254/24"),
                interface("r1-eth1", "10.0.1.254/24"),
            ],
        ),
        Node(name="server", role="server", interfaces=[interface("server-eth0", "10.0.1.1/24")]),
    ]
