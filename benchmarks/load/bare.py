"""`python -m benchmarks.load.bare URL USERS REQUESTS`: a loop of httpx's on trio, and nothing else.

It is what one writes without a load generator: each user asks with ``client.get`` until all
requests are made. Prints JSON: ``{"elapsed_ns": n, "cpu_ns": n}``, from the first start to the last
end.
"""

from __future__ import annotations

import json
import sys
from time import monotonic_ns, process_time_ns

import httpx
import trio


async def loop(url: str, users: int, requests: int) -> dict[str, int]:
    """Makes the requests.

    Raises:
        httpx.HTTPError: one of them failed.
    """
    left = requests
    limits = httpx.Limits(max_connections=users, max_keepalive_connections=users)
    async with httpx.AsyncClient(trust_env=False, limits=limits) as client:

        async def user() -> None:
            nonlocal left
            while left:
                left -= 1
                (await client.get(url)).raise_for_status()

        started_ns, cpu_ns = monotonic_ns(), process_time_ns()
        async with trio.open_nursery() as nursery:
            for _ in range(users):
                nursery.start_soon(user)
        return {"elapsed_ns": monotonic_ns() - started_ns, "cpu_ns": process_time_ns() - cpu_ns}


if __name__ == "__main__":
    _url, _users, _requests = sys.argv[1:]
    print(json.dumps(trio.run(loop, _url, int(_users), int(_requests))))
