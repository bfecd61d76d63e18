"""What a run tells while it goes on.

Its parts are different processes, so events cross a pipe, each as a line of JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec


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


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """The run failed; always the last line."""

    exit_code: int
    message: str
    where: str | None = None


Progress: TypeAlias = Phase | LoadProgress
Line: TypeAlias = Phase | LoadProgress | Failure
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
