"""Open loop: requests start when they are due, whatever became of the earlier ones.

Rules:

- No place in the schedule is left out. When the generator is behind, what is due starts at once,
  and the delay shows as `started_ns - intended_ns`; latency counts from the intended start.
- Each request is a task of its own. More of them than connections wait in the pool, which shows as
  pool wait and, past the timeout, as PoolTimeout.
"""

from __future__ import annotations

import trio

from testbed.load.arrivals import schedule
from testbed.load.config import LoadConfig
from testbed.load.request import Requests
from testbed.load.timer import Timer


async def open_loop(config: LoadConfig, requests: Requests, start_ns: int) -> None:
    """Starts each request of the schedule when it is due; returns when the last one has ended."""
    with Timer() as timer:
        async with trio.open_nursery() as nursery:
            for number, due_ns in schedule(config.load, seed=config.seed, process=config.name):
                await timer.sleep_until(start_ns + due_ns)
                nursery.start_soon(
                    requests.make, number, 0, start_ns + due_ns, name=f"request {number}"
                )
