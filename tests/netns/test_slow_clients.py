"""Rule: the same slow clients are served one at a time by a blocking server, and all at once with a
thread or a process for each, and by an event loop.

20 clients of those of `benchmarks.servers`, which hold whoever serves them for two seconds each.
"""

from __future__ import annotations

import pytest

from benchmarks.servers.measure import Row, measured

USERS = 20


@pytest.fixture(scope="module")
def rows(mark: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    folder = tmp_path_factory.mktemp("servers")
    servers = ("blocking", "threaded", "forking", "hypercorn")
    return {server: measured(server, USERS, 7, folder / server) for server in servers}


def test_one_blocking_process_serves_one_at_a_time(rows: dict[str, Row]) -> None:
    row = rows["blocking"]
    assert (row.served_at_once, row.processes) == (1, 1)
    # Its handler, and who looks out for the stop.
    assert row.threads == 2
    # 2 s and more for each, and nobody waits longer than 10 s.
    assert 1 <= row.completed <= USERS // 2
    assert row.completed + sum(row.failures.values()) == USERS
    assert set(row.failures) <= {"ReadTimeout", "ConnectTimeout"}


@pytest.mark.parametrize("server", ["threaded", "forking", "hypercorn"])
def test_the_others_serve_all(rows: dict[str, Row], server: str) -> None:
    row = rows[server]
    assert (row.completed, row.failures) == (USERS, {})
    assert row.served_at_once > USERS // 2
    assert row.latency_ns_p50 is not None
    assert row.latency_ns_p50 < 10_000_000_000


def test_what_each_takes_for_it(rows: dict[str, Row]) -> None:
    """A thread each, a process each; one loop, whatever the number of clients."""
    threaded, forking, loop = rows["threaded"], rows["forking"], rows["hypercorn"]
    assert threaded.processes == 1
    assert USERS // 2 < threaded.threads <= USERS + 1
    assert USERS // 2 < forking.processes <= USERS + 1
    assert forking.threads < 2 * forking.processes
    # One thread as a rule; a count that comes while a library has a second one sees that, too.
    assert loop.processes == 1
    assert loop.threads <= 2
