"""Hypercorn's settings, the same on trio and on asyncio.

Why each setting:

- `backlog`: Hypercorn's own 100 is silent; here it is in the configuration and so in the recording.
- `keep_alive_max_requests`: after 1000 requests Hypercorn closes the connection without a word,
  which looks like a reconnect of the client's making; `keep_alive_timeout`: its 5 s does the same
  between slow requests.
- `include_server_header` and `include_date_header` stay as they are: they are what a user's
  deployment sends.
- `alpn_protocols`: the one version that was asked for, so that client and server cannot settle for
  another. Without TLS Hypercorn speaks HTTP/2 to a client that begins with it (RFC 9113, 3.3) or
  asks for h2c, and cannot be told not to; the load process begins with what was asked for.
- `certfile` and `keyfile`: the descriptor that came from the parent, which has no name in any file
  system. Hypercorn reads it once, before it listens, and it is closed with the server.
- `accesslog` stays off: the ASGI probe sees more and costs less.
"""

from __future__ import annotations

from typing import Final

from hypercorn.config import Config

from testbed.scenario.model import HttpVersion
from testbed.server.config import ServerConfig
from testbed.units import NS_PER_S

ALPN: Final[dict[HttpVersion, str]] = {"1.1": "http/1.1", "2": "h2"}
"""Protocol names (RFC 7301, section 6; RFC 9113, section 3.1)."""
_NEVER_REQUESTS: Final = 2**62


def hypercorn_config(config: ServerConfig, descriptors: list[int]) -> Config:
    """Hypercorn's configuration for this server on bound sockets; see *Why each setting*."""
    made = Config()
    made.bind = [f"fd://{descriptor}" for descriptor in descriptors]
    made.backlog = config.backlog
    made.keep_alive_max_requests = _NEVER_REQUESTS
    made.keep_alive_timeout = config.keep_alive_timeout_ns / NS_PER_S
    made.alpn_protocols = [ALPN[config.http]]
    if config.tls_fd is not None:
        made.certfile = made.keyfile = f"/proc/self/fd/{config.tls_fd}"
    made.startup_timeout = config.startup_timeout_ns / NS_PER_S
    made.graceful_timeout = config.graceful_timeout_ns / NS_PER_S
    made.shutdown_timeout = config.graceful_timeout_ns / NS_PER_S
    return made
