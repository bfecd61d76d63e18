"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

_POLL_S: Final = 0.005
_Value = TypeVar("_Value")


def eventually(look: Callable[[], _Value], *, within_s: float, what: str) -> _Value:
    """The first true value that `look` gives.

    Raises:
        AssertionError: none came in time; says what was waited for and the last value seen.
    """
    pause = threading.Event()
    deadline = time.monotonic() + within_s
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s:g} s (last seen: {value!r})")
        pause.wait(_POLL_S)
