"""A stage of a journey, as a row of events/journeys.parquet."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

Kind = Literal[
    "work",
    "transmission",
    "propagation",
    "queueing",
    "recovery",
    "backpressure",
    "scheduling",
    "unexplained",
]
"""What a request is doing meanwhile.

work: somebody computes for it. transmission: its bits go onto a link, at the link's capacity.
propagation: they are on the wire. queueing: it waits for others before it. recovery: it waits for a
lost packet to be sent again, or for attempts that failed. backpressure: it waits for a reader to
make room. scheduling: it waits for a process, a task or the emulator to run. unexplained: nobody
saw.
"""


Part = Literal["start", "connect", "request", "server", "response", ""]
"""Where a request is on its journey.

start: with the client, until it has a connection. connect: the handshakes. request: until the
server has read all of it. server: until it has written all of its answer. response: until the
client has taken all of it.
"""


class Label(NamedTuple):
    """What a stage is; stages with equal labels are one kind of stage."""

    stage: str
    """In words: ``on the wire``."""
    layer: str
    """One of the ten layers, or empty where it is unexplained."""
    kind: Kind
    where: str = ""
    """A node, or a way from node to node: ``r1-server``."""
    note: str = ""
    part: Part = ""
    """The tape fills it in."""


UNEXPLAINED: Final = Label("unexplained", "", "unexplained")


class JourneyStage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of one request. A request's stages begin where the one before ends."""

    request_id: str
    place: int
    """Counts from 0 within the request."""
    part: Part
    """Empty where it is unexplained."""
    stage: str
    layer: str
    kind: Kind
    where: str
    note: str
    started_ns: int
    ended_ns: int
    duration_ns: int
