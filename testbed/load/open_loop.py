"""Open loop: requests start when they are due, whatever became of the earlier ones.

Rules:

- No place in the schedule is left out. When the generator is behind, what is due starts at once,
  and the delay shows as `started_ns - intended_ns`; latency counts from the intended start.
- Each request is a task of its own. More of them than connections wait in the pool, which shows as
  pool wait and, past the timeout, as PoolTimeout.
- With a limit on requests under way, one that is due beyond it is recorded as Dropped, and not
  made. There is none by default: a request that was not made has no latency, and a server that is
  too slow would look the better for it.
"""

from __future__ import annotations

import trio

from testbed.load.arrivals import schedule
from testbed.load.config import LoadConfig
from testbed.load.request import Requests
from testbed.load.timer import Timer


async def open_loop(config: LoadConfig, requests: Requests, start_ns: int) -> None:
    """Starts each request of the schedule when it is due; returns when the last one has ended."""
    load, share = config.load, config.share
    limit = None if load.max_in_flight is None else share.of(load.max_in_flight)
    due = schedule(load, seed=config.seed, process=config.node, times=config.read_arrivals())
    with Timer() as timer:
        async with trio.open_nursery() as nursery:
            for number, due_ns in due:
                if not share.has(number):
                    continue
                intended_ns = start_ns + due_ns
                await timer.sleep_until(intended_ns)
                if limit is not None and len(nursery.child_tasks) >= limit:
                    requests.drop(number, intended_ns, limit)
                    continue
                nursery.start_soon(requests.make, number, 0, intended_ns, name=f"request {number}")
