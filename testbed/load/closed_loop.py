"""Closed loop: each user sends its next request when its last one has ended.

Rules:

- All users begin at once, when the load starts.
- A request is intended when its user takes a number, which it does as soon as it is free; a slow
  server is therefore asked less (coordinated omission): what it does to latency at a given rate is
  a question for the open loop.
- A request that failed counts like any other, and its user goes on at once.
"""

from __future__ import annotations

from time import monotonic_ns

import trio

from testbed.load.request import Requests
from testbed.scenario import Load


async def closed_loop(load: Load, requests: Requests, start_ns: int) -> None:
    """Runs the load's users until a limit is reached and the last request has ended."""
    limit, duration_ns = load.request_limit, load.duration_ns
    next_number = 0

    async def run_user(user: int) -> None:
        nonlocal next_number
        while limit is None or next_number < limit:
            intended_ns = monotonic_ns()
            if duration_ns is not None and intended_ns - start_ns >= duration_ns:
                return
            number = next_number
            next_number += 1
            await requests.make(number, user, intended_ns)

    async with trio.open_nursery() as nursery:
        for user in range(load.users):
            nursery.start_soon(run_user, user, name=f"user {user}")
