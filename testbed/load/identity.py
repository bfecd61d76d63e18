"""Request ids: repeatable, different for each process and each request (pure)."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Identity(NamedTuple):
    """The ids of one request (W3C Trace Context, section 3.2.2), in lower-case hexadecimal."""

    trace_id: str
    """32 digits; the request id in every recording."""
    span_id: str
    """16 digits."""

    @property
    def traceparent(self) -> str:
        """The header's value: version 00, sampled."""
        return f"00-{self.trace_id}-{self.span_id}-01"


def identity(*, seed: int, process: str, number: int, attempt: int = 0) -> Identity:
    """The ids of request `number` of a client host: BLAKE2b (RFC 7693) of seed, host and number.

    Attempts after the first have ids of their own.
    """
    key = f"{seed}/{process}/request/{number}" + (f"/{attempt}" if attempt else "")
    digits = hashlib.blake2b(key.encode(), digest_size=24).hexdigest()
    return Identity(digits[:32], digits[32:])
