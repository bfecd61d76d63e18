"""What a run tells while it goes on, and what it can be told.

Its parts are different processes, so events cross a pipe, each as a line of JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from testbed.recording.manifest import AppliedChange
from testbed.scenario.model import Way

LOAD_PHASE: Final = "load"
"""The phase that begins when the clients were told to begin."""


class Phase(msgspec.Struct, frozen=True, kw_only=True, tag="phase"):
    """A new part of the run has begun."""

    text: str
    """For people, in the present participle: ``building the network``."""


class LoadProgress(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """How far the clients are, all of them together."""

    started: int
    completed: int
    failed: int
    limit: int | None
    """Requests in all; None where only the duration ends the load."""
    elapsed_ns: int
    """Since the clients were told to begin."""
    duration_ns: int | None
    """How long new requests are started; None where only the number ends the load."""


class Warned(msgspec.Struct, frozen=True, kw_only=True, tag="warned"):
    """Something that a user wants to know before the end; it is in the manifest, too."""

    text: str


class Changed(msgspec.Struct, frozen=True, kw_only=True, tag="changed"):
    """An order was carried out."""

    number: int
    """Of the order."""
    changes: list[AppliedChange]
    """One for each direction."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """An order was not carried out."""

    number: int
    exit_code: int
    message: str
    where: str | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """The run failed; always the last line."""

    exit_code: int
    message: str
    where: str | None = None


class ChangeOrder(msgspec.Struct, frozen=True, kw_only=True, tag="change"):
    """Asks a running experiment to change a link. Goes the other way, through a pipe of its own."""

    number: int
    """Its answer has the same."""
    link: str
    direction: str | None
    """None: both."""
    settings: Way


class StopOrder(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    """Asks it to end, as Ctrl-C does."""


Order: TypeAlias = ChangeOrder | StopOrder
Progress: TypeAlias = Phase | LoadProgress | Warned | Changed | Refused
Line: TypeAlias = Phase | LoadProgress | Warned | Changed | Refused | Failure
OnProgress: TypeAlias = Callable[[Progress], None]


def encode_progress(event: Line) -> bytes:
    """One line, its end included."""
    return msgspec.json.encode(event) + b"\n"


def decode_progress(line: bytes) -> Line:
    """The event in one line.

    Raises:
        msgspec.MsgspecError: the line holds none.
    """
    event: Line = msgspec.json.decode(line, type=Line)
    return event
