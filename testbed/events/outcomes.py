"""What can become of a request: the whole list.

    completed              the answer came to its end, with a status below 400
    HTTP 400 .. HTTP 599   it did, with that status
    ReadTimeout ...        an exception of httpx's, by its name
    TotalTimeout           the limit on the whole request ran out
    CancelledByClient      the client gave it up, as the scenario says (cancel)
    Dropped                it was not made: too many were under way (max_in_flight)
    Cancelled              the load was stopped while it was under way

An attempt after which another one followed has its own outcome, and is marked as retried.
"""

from __future__ import annotations

from typing import Final

from testbed.events import http

FAILED_STATUS: Final = 400
TOTAL_TIMEOUT: Final = "TotalTimeout"
CANCELLED_BY_CLIENT: Final = "CancelledByClient"
DROPPED: Final = http.DROPPED
CANCELLED: Final = "Cancelled"
BY_CLIENT: Final = (TOTAL_TIMEOUT, CANCELLED_BY_CLIENT, DROPPED, CANCELLED)
"""What the client did."""
EXCEPTIONS: Final = (
    "ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout",
    "ConnectError", "ReadError", "WriteError", "CloseError",
    "LocalProtocolError", "RemoteProtocolError", "ProxyError", "UnsupportedProtocol",
    "DecodingError", "TooManyRedirects", "HTTPStatusError", "InvalidURL",
    "StreamConsumed", "StreamClosed", "ResponseNotRead", "RequestNotRead",
    "SSEError",
)  # fmt: skip
"""Every exception that httpx or httpx2 raises for a request."""


def of_status(status: int) -> str | None:
    """The failure of an answer that came to its end; None: it completed."""
    return f"HTTP {status}" if status >= FAILED_STATUS else None


def names() -> list[str]:
    """Those with a name of their own."""
    return [*BY_CLIENT, *EXCEPTIONS]


def is_outcome(failure: str | None) -> bool:
    """Whether this is one of the list."""
    if failure is None or failure in BY_CLIENT or failure in EXCEPTIONS:
        return True
    word, _, status = failure.partition(" ")
    return word == "HTTP" and status.isdigit() and int(status) >= FAILED_STATUS
