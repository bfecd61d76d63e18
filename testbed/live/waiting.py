"""Waiting for one of several descriptors."""

from __future__ import annotations

import math
import select
from collections.abc import Sequence


def readable(descriptors: Sequence[int], wait_s: float) -> list[int]:
    """Those that can be read, or have come to their end, within that time.

    By poll(2): select(2) takes no descriptor above 1023.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(math.ceil(max(0.0, wait_s) * 1000))]
