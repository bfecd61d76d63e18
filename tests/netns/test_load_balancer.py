"""Rule: connections to the one address of many servers are spread over them, each stays with its
server, and every packet is accounted for although three hosts have that address.
"""

from __future__ import annotations

import polars as pl
import pytest

from testbed import Load, Recording, Scenario, run

SERVERS = 3
CONNECTIONS = 46
"""That all of them go to two of three servers has a probability of 3 * (2/3)**46 = 2.4e-8."""


@pytest.fixture(scope="module", params=[4, 6], ids=["IPv4", "IPv6"])
def recording(
    mark: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Recording:
    wanted = Scenario(
        topology="load_balancer",
        topology_options={"n": SERVERS},
        ip=request.param,
        tls=True,
        load=Load(users=2, requests=CONNECTIONS, new_connections=True),
        seed=7,
    )
    return run(wanted, tmp_path_factory.mktemp("balanced") / "run")


def test_every_server_answers_and_every_request_is_answered(recording: Recording) -> None:
    assert recording.http.completed == CONNECTIONS
    answered = pl.read_parquet(recording.root / "events" / "asgi.parquet")
    by_server = dict(answered.group_by(pl.col("node").cast(pl.String)).len().rows())
    assert sorted(by_server) == ["server1", "server2", "server3"]
    assert sum(by_server.values()) == CONNECTIONS
    assert recording.http.served == by_server


def test_a_connection_stays_with_its_server(recording: Recording) -> None:
    packets = pl.read_parquet(recording.root / "events" / "packets.parquet")
    at_servers = packets.filter(pl.col("node").cast(pl.String).str.starts_with("server"))
    to_them = at_servers.filter(~pl.col("outgoing"))
    servers_of = to_them.group_by("source_port").agg(pl.col("node").n_unique())
    assert servers_of.height == CONNECTIONS
    assert servers_of["node"].to_list() == [1] * CONNECTIONS


def test_every_packet_has_a_fate(recording: Recording) -> None:
    assert recording.summary.ledger.balanced
    assert [row.what for row in recording.summary.ledger.rows if row.balanced is None] == []
