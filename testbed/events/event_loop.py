"""Event loop: what a trio Instrument sees."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

LOOP_RECORD: Final = [
    ("scheduled_ns", "<i8"),
    ("started_ns", "<i8"),
    ("ended_ns", "<i8"),
    ("task", "<u4"),
    ("runnable", "<u2"),
    ("kind", "u1"),
    ("pad", "u1"),
]
"""One record of a loop segment (struct ``<qqqIHBx``)."""
LOOP_KINDS: Final = ("step", "io_wait")


class LoopInterval(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a task, or one wait for I/O."""

    process: str
    node: str
    kind: Literal["step", "io_wait"]
    task: int
    """A number of the task within its process; 0 for an I/O wait."""
    scheduled_ns: int
    """Of a step: when the task became runnable. Of a wait: the same as `started_ns`."""
    started_ns: int
    ended_ns: int
    runnable: int
    """Tasks that were runnable when it began, this one included."""
