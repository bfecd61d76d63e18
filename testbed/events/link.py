"""Link: the wire between two interfaces."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

DIGEST_BYTES: Final = 128
"""A packet's digest is zlib.crc32 over its first bytes, Ethernet header included, at most this
many.
"""
SNAPLEN_BYTES: Final = 160
"""What captures keep of each packet: Ethernet 14 + IPv6 40 + TCP 60, and some to spare."""

MARKER_ETHERTYPE: Final = 0x88B5
"""Frames of the testbed itself, which prove that a capture is up to date; nobody counts them.

IEEE 802 local experimental EtherType 1 (IEEE 802-2014, 9.2.4).
"""

RELAY_RECORD: Final = [
    ("number", "<u8"),
    ("arrival_ns", "<i8"),
    ("due_ns", "<i8"),
    ("departure_ns", "<i8"),
    ("size_bytes", "<u4"),
    ("digest", "<u4"),
    ("sent_digest", "<u4"),
    ("direction", "u1"),
    ("fate", "u1"),
    ("reason", "u1"),
    ("flags", "u1"),
]
"""One record of the relay's log (struct ``<QqqqIIIBBBB``); departure_ns is 0 for a packet that did
not depart. A duplicated packet has two records, the second with the flag COPY. sent_digest is that
of the packet as it left: another one than digest where a bit was flipped in what it covers.

Logs of version 0.1 have neither sent_digest nor flags.
"""
FATES: Final = ("delivered", "lost", "held", "overflow", "dropped")
"""held: still on the wire when the relay stopped. overflow: the emulator could not write it, never
emulated loss. dropped: by the full queue before a capacity that follows a trace.
"""
REASONS: Final = (
    "",
    "bernoulli",
    "stopped",
    "write_failed",
    "gilbert_elliott",
    "four_state",
    "every",
    "listed",
    "segments",
    "outage",
    "queue_full",
)
"""Of a loss: the kind of its rule (testbed.scenario.impairments)."""
COPY: Final = 1
"""Flag: the second copy of a duplicated packet."""
CORRUPTED: Final = 2
"""Flag: a bit of it was flipped."""
OVERTAKEN: Final = 4
"""Flag: chosen to be reordered, and later packets went before it."""
GAVE_UP: Final = 8
"""Flag: chosen to be reordered, and left because its time was up: fewer overtook it than were to,
or none.
"""
DIRECTIONS: Final = ("forward", "reverse")


class LinkPacket(msgspec.Struct, frozen=True, kw_only=True):
    """The fate of one packet on a relay's wire."""

    link: str
    direction: Literal["forward", "reverse"]
    number: int
    """Counts from 0 in each direction, in the order the relay read the packets."""
    size_bytes: int
    """Ethernet header included, without preamble and frame check sequence."""
    digest: int
    arrival_ns: int
    due_ns: int
    departure_ns: int | None
    fate: Literal["delivered", "lost", "held", "overflow", "dropped"]
    reason: str
    copy: bool
    """The second copy of a duplicated packet; it has the number of the first."""
    corrupted: bool
    """A bit of it was flipped."""
    overtaken: bool
    """It was chosen to be reordered, and later packets went before it."""
    gave_up: bool
    """It was chosen to be reordered, and fewer packets overtook it in time than were to, or none.
    """
    sent_digest: int
    """Of the packet as it left."""
