"""Two hosts and the wire between them; nothing else can limit a flow.

    client ------------- server
            delay, loss

The links of a scenario say what the wire does: `links = {"client-server": ...}`.
"""

from typing import Any

from mininet.topo import Topo


class Path(Topo):  # type: ignore[misc]  # mininet has no types
    """client - server."""

    def build(self, **_options: Any) -> None:
        """Adds the hosts and the link; takes no options."""
        self.addHost("client", role="client", ip="10.0.0.1/24")
        self.addHost("server", role="server", ip="10.0.0.2/24")
        self.addLink("client", "server")
