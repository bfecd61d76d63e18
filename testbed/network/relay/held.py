"""A packet on the wire."""

from __future__ import annotations

from typing import Final, TypeAlias

NEVER_NS: Final = 2**62

Held: TypeAlias = tuple[int, int, int, int, bytes, int, int]
"""When it is due (ns), a number that breaks ties, its number, when it came (ns), the frame as it
leaves, flags of the log, and the digest of the frame as it came.

Why a plain tuple: making a named one would take a quarter of all the time that a packet takes.
"""
