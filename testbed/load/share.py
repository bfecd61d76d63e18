"""What one of several client processes of a host does of the host's load (pure).

Rules:

- Process p of n has request numbers p, p + n, p + 2n ..., and users likewise. So the shares make up
  the whole exactly, whatever divides whatever, and a request is the same one whichever process
  makes it.
- Limits on what is there at once are shared out likewise: they add up to the host's.
"""

from __future__ import annotations

import msgspec


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A process's place among those of its host."""

    index: int = 0
    """From 0."""
    processes: int = 1

    def of(self, count: int) -> int:
        """How many of so many are its own."""
        return len(range(self.index, count, self.processes))

    def numbers(self, count: int) -> range:
        """Which of the first so many are its own."""
        return range(self.index, count, self.processes)

    def has(self, number: int) -> bool:
        """Whether that one is its own."""
        return number % self.processes == self.index
