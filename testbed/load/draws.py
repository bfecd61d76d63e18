"""What is random about single requests: their kind, sizes, pauses, and which are given up (pure).

Rules:

- A draw depends on nothing but seed, client host, what it is for, and the number of the request
  (counter-based): whatever the timing, and however many processes share the requests, the same seed
  gives the same sequence; and what is drawn for one purpose changes no other.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from testbed.scenario import Load
from testbed.scenario.load_notation import SIZE_FIELD, Entry

Purpose = Literal["mix", "body", "size", "think", "cancel", "cancel after", "backoff"]
_BITS: Final = 52
"""So many and a half are exact in a float: no draw is 0 or 1."""


def uniform(seed: int, host: str, purpose: Purpose, number: int, attempt: int = 0) -> float:
    """A number between 0 and 1, both excluded."""
    key = f"{seed}/{host}/{purpose}/{number}/{attempt}".encode()
    draw = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> (64 - _BITS)
    return (draw + 0.5) / (1 << _BITS)


class Wanted(NamedTuple):
    """One request as it is to be made."""

    entry: int
    """Its place in the mix."""
    method: str
    path: str
    body_bytes: int
    size_bytes: int | None
    """What was put into the path."""


class Draws:
    """Draws for the requests of one client host.

    Args:
        load: what is asked for.
        seed: of the run.
        host: the client host's name.
    """

    def __init__(self, load: Load, *, seed: int, host: str) -> None:
        self._seed = seed
        self._host = host
        self._entries = load.entries
        self._until = list(accumulate(entry.weight for entry in self._entries))
        self._think = load.think_time
        self._cancel = load.cancels
        self._backoff_ns = load.backoff_ns
        self._always = self._wanted(0, 0) if self._is_constant() else None

    def _is_constant(self) -> bool:
        first = self._entries[0]
        drawn = [spread for spread in (first.body, first.size) if spread is not None]
        return len(self._entries) == 1 and all(spread.kind == "fixed" for spread in drawn)

    def wanted(self, number: int) -> Wanted:
        """What request `number` is."""
        return self._always or self._wanted(number, self._kind(number))

    def _kind(self, number: int) -> int:
        if len(self._entries) == 1:
            return 0
        draw = uniform(self._seed, self._host, "mix", number) * self._until[-1]
        return min(bisect_right(self._until, draw), len(self._entries) - 1)

    def _wanted(self, number: int, kind: int) -> Wanted:
        entry: Entry = self._entries[kind]
        body = size = None
        if entry.body is not None:
            body = entry.body.at(uniform(self._seed, self._host, "body", number))
            if entry.body.kind != "fixed":
                body = max(1, body)
        if entry.size is not None:
            size = entry.size.at(uniform(self._seed, self._host, "size", number))
            if entry.size.kind != "fixed":
                size = max(1, size)
        path = entry.path if size is None else entry.path.replace(SIZE_FIELD, str(size))
        return Wanted(kind, entry.method, path, body or 0, size)

    def think_ns(self, number: int) -> int:
        """How long its user waits after request `number`."""
        if self._think is None:
            return 0
        return self._think.at(uniform(self._seed, self._host, "think", number))

    def cancel_ns(self, number: int) -> int | None:
        """When the client gives request `number` up, from its start; None: never."""
        if self._cancel is None:
            return None
        if uniform(self._seed, self._host, "cancel", number) >= self._cancel.ratio:
            return None
        return self._cancel.after.at(uniform(self._seed, self._host, "cancel after", number))

    def backoff_ns(self, number: int, attempt: int) -> int:
        """How long to wait before attempt 1, 2 ... of request `number`.

        Full jitter, doubled each time.
        """
        most_ns = self._backoff_ns << (attempt - 1)
        return int(uniform(self._seed, self._host, "backoff", number, attempt) * most_ns)
