"""Rule: over IPv6 a run is the same experiment: the same packets are lost by number, the ledger
balances, every layer that is observed over IPv4 is, and nothing but the load is on the wire.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from testbed import Recording, run
from testbed.recording.layout import Layout
from tests.support.pcapng import read_pcapng
from tests.support.runs import manifest_of, scenario

REQUESTS = 40
LINKS = ("client-r1", "r1-server")


@pytest.fixture(scope="module")
def runs(mark: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Recording]:
    """The run of the README, with fewer requests, over each version."""
    folder = tmp_path_factory.mktemp("ip")
    return {ip: run(scenario(REQUESTS, ip=ip), folder / str(ip)) for ip in (4, 6)}


def test_every_request_is_answered_and_every_packet_has_a_fate(runs: dict[int, Recording]) -> None:
    six = runs[6]
    assert six.http.completed == REQUESTS
    assert six.summary.ledger.balanced
    rows = [[row.what for row in one.summary.ledger.rows] for one in runs.values()]
    assert rows[0] == rows[1]


def test_every_layer_is_observed_as_over_ipv4(runs: dict[int, Recording]) -> None:
    four, six = (
        {name: layer.status for name, layer in one.summary.layers.items()} for one in runs.values()
    )
    assert four == six


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_the_same_packets_are_lost_by_number(
    runs: dict[int, Recording], link: str, direction: str
) -> None:
    lost, sent = [], []
    for one in runs.values():
        table = pl.read_parquet(one.root / "links" / f"{link}.parquet")
        table = table.filter(pl.col("direction") == direction)
        sent.append(table.height)
        lost.append(table.filter(pl.col("fate") == "lost")["number"].to_list())
    both = min(sent)
    assert both > REQUESTS
    first, second = ([number for number in numbers if number < both] for numbers in lost)
    assert first == second
    assert bool(first) == (
        (link, direction) in {("client-r1", "reverse"), ("r1-server", "forward")}
    )


def test_nothing_but_tcp_over_ipv6_is_on_the_links(runs: dict[int, Recording]) -> None:
    for node in manifest_of(runs[6].root).nodes:
        frames = read_pcapng(Layout(runs[6].root).capture(node.name)).frames
        assert {frame.ethertype for frame in frames} == {0x86DD}
        assert {frame.data[20] for frame in frames} == {6}


def test_a_host_has_its_addresses_and_no_others(runs: dict[int, Recording]) -> None:
    addresses = {
        interface.name: interface.addresses
        for node in manifest_of(runs[6].root).nodes
        for interface in node.interfaces
    }
    assert addresses == {
        "client-eth0": ["fd00:0:a00::1/64"],
        "r1-eth0": ["fd00:0:a00::fe/64"],
        "r1-eth1": ["fd00:0:a00:100::fe/64"],
        "server-eth0": ["fd00:0:a00:100::1/64"],
    }


def test_the_counters_of_ip_are_those_of_ipv6(runs: dict[int, Recording]) -> None:
    table = pl.read_parquet(runs[6].root / "events" / "ip.parquet")
    last = {row["node"]: row for row in table.group_by("node").last().to_dicts()}
    arrived = 0
    for link, way in (("client-r1", "forward"), ("r1-server", "reverse")):
        log = pl.read_parquet(runs[6].root / "links" / f"{link}.parquet")
        arrived += log.filter(direction=way, fate="delivered").height
    assert last["r1"]["forwarded"] == last["r1"]["in_receives"] == arrived
    assert last["r1"]["in_delivers"] == 0


def test_tls_names_the_address(tmp_path: Path) -> None:
    done = run(scenario(6, ip=6, tls=True, http="2"), tmp_path / "run")
    assert done.http.completed == 6
    assert done.summary.ledger.balanced
