"""What is known beforehand of loads that can stall (pure)."""

from __future__ import annotations

from typing import Final

from testbed.scenario import Scenario

HTTP2_WINDOW_BYTES: Final = 65_535
"""What a connection may send before its peer has made room (RFC 9113, 6.9.2)."""


def stalls(scenario: Scenario) -> list[str]:
    """What is known of httpcore 1.0: uploads that share an HTTP/2 connection can stall.

    A stream that waits for the window waits for the connection to be read again, though another
    stream has read meanwhile that there is room (github.com/pydantic/httpx2/issues/1133).
    """
    load = scenario.load
    if load.client != "httpx":  # httpx2 looks again when it is its turn to read
        return []
    shared = scenario.http == "2" and not load.new_connections
    users = 2 if load.is_open else len(range(0, load.users, load.processes))
    if not shared or users == 1:
        return []
    if load.mean_body_bytes * users <= HTTP2_WINDOW_BYTES:
        return []
    return [
        "uploads that share an HTTP/2 connection can stall until --timeout in the client "
        "(httpcore 1.0): use --client httpx2, one user, --new-connections, or --http 1.1"
    ]
