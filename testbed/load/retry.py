"""Which requests may be tried again (pure).

Rules:

- A request that never reached a server, for want of a connection, may be tried again whatever it is
  (RFC 9110, 9.2.2: where it is known that it was not applied).
- A request that may have reached one is tried again only where its method is idempotent (RFC 9110,
  9.2.2), be it that the connection failed or that time ran out, or that the answer says that
  another try may do better: 429 (RFC 6585, 4), 502, 503, 504 (RFC 9110, 15.6).
- All others are not: a POST that timed out may have been done.
"""

from __future__ import annotations

from typing import Final

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
NEVER_SENT: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
"""Names of httpx's exceptions, as all names here."""
PERHAPS_SENT: Final = frozenset(
    {"ReadError", "ReadTimeout", "WriteError", "WriteTimeout", "RemoteProtocolError"}
)
WORTH_ANOTHER: Final = frozenset({"HTTP 429", "HTTP 502", "HTTP 503", "HTTP 504"})


def may_retry(method: str, failure: str) -> bool:
    """Whether a request that failed so may be tried again.

    Args:
        method: as it was sent.
        failure: as in `testbed.events.http.HttpExchange`.
    """
    if failure in NEVER_SENT:
        return True
    return method.upper() in IDEMPOTENT and failure in PERHAPS_SENT | WORTH_ANOTHER
