"""Closed loop: each user sends its next request when its last one has ended.

Rules:

- All users begin at once, when the load starts.
- A request is intended when its user takes a number, which it does as soon as it is free; a slow
  server is therefore asked less (coordinated omission): what it does to latency at a given rate is
  a question for the open loop.
- A user thinks after each request, for as long as the request's number says, and is then free. It
  thinks no longer than new requests are started, and not after the last one.
- A request that failed counts like any other.
"""

from __future__ import annotations

from time import monotonic_ns

import trio

from testbed.load.draws import Draws
from testbed.load.request import Requests
from testbed.load.share import Share
from testbed.scenario import Load
from testbed.units import NS_PER_S


async def closed_loop(
    load: Load, share: Share, requests: Requests, draws: Draws, start_ns: int
) -> None:
    """Runs this process's users until a limit is reached and the last request has ended."""
    duration_ns = load.duration_ns
    ends_ns = None if duration_ns is None else start_ns + duration_ns
    limit = load.request_limit
    next_number = share.index

    async def run_user(user: int) -> None:
        nonlocal next_number
        while limit is None or next_number < limit:
            intended_ns = monotonic_ns()
            if ends_ns is not None and intended_ns >= ends_ns:
                return
            number = next_number
            next_number += share.processes
            await requests.make(number, user, intended_ns)
            if limit is not None and next_number >= limit:
                return
            think_ns = draws.think_ns(number)
            if ends_ns is not None:
                think_ns = min(think_ns, ends_ns - monotonic_ns())
            if think_ns > 0:
                await trio.sleep(think_ns / NS_PER_S)

    async with trio.open_nursery() as nursery:
        for user in share.numbers(load.users):
            nursery.start_soon(run_user, user, name=f"user {user}")
