"""Rule: packets that are spread over two unequal paths are reordered as often as the delays of the
paths and the times at which they were sent foretell, and the report says so; flows that are spread
are not reordered at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as FilePath

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from testbed import Load, Recording, Scenario, run
from testbed.analysis.metrics.multipath import Path, arrivals_ns
from testbed.analysis.metrics.reordering import reordered
from testbed.recording.layout import Layout
from tests.support.pcapng import CapturedFrame, read_pcapng

MS = 1_000_000
DELAYS_MS = {"fast": 10, "slow": 30}
CAPACITY_BIT_S = 20_000_000
UNSURE_NS = 5 * MS
"""How much later than planned a packet may be on a busy machine without counting as an error: the
relay's and the shapers' lateness. On an idle one it is below 0.2 ms."""


def two_paths(spread: str, folder: FilePath, ip: int = 4, **load: object) -> Recording:
    wanted = Scenario(
        topology="two_paths",
        topology_options={"spread": spread},
        app="stream",
        ip=ip,  # type: ignore[arg-type]
        load=Load(requests=8, path="/?size=60kB", **load),  # type: ignore[arg-type]
        seed=7,
    )
    return run(wanted, folder)


@dataclass
class Answers:
    """All that the server sent, in its order."""

    sent_ns: npt.NDArray[np.int64]
    size_bytes: npt.NDArray[np.int64]
    reordered: npt.NDArray[np.bool_]
    """Per packet that arrived, by a plain reading of both captures."""


def key(frame: CapturedFrame) -> bytes:
    """What routers leave alone: IPv4's identification, or IPv6's flow label, and all behind IP."""
    return frame.data[18:20] + frame.data[34:] if frame.ethertype == 0x0800 else frame.data[54:]


def answers(recording: Recording) -> Answers:
    layout = Layout(recording.root)
    sides = {name: read_pcapng(layout.capture(name)).frames for name in ("client", "server")}
    # The first packet of a connection is the client's.
    client, server = sides["client"][0].source_mac, sides["server"][0].data[:6].hex(":")
    sent = [frame for frame in sides["server"] if frame.source_mac == server]
    came = [frame for frame in sides["client"] if frame.source_mac != client]
    number = {key(frame): index for index, frame in enumerate(sent)}
    assert len(number) == len(sent)
    return Answers(
        np.array([frame.time_ns for frame in sent], np.int64),
        np.array([frame.size_bytes for frame in sent], np.int64),
        reordered(np.array([number[key(frame)] for frame in came], np.int64)),
    )


@pytest.fixture(scope="module", params=[4, 6], ids=["IPv4", "IPv6"])
def spread_packets(
    mark: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Recording:
    return two_paths("packets", tmp_path_factory.mktemp("packets") / "run", request.param)


def sent_over(recording: Recording, link: str, direction: str) -> int:
    table = pl.read_parquet(recording.root / "links" / f"{link}.parquet")
    return table.filter(direction=direction).height


def test_each_path_has_every_second_packet(spread_packets: Recording) -> None:
    total = answers(spread_packets).sent_ns.size
    assert total > 8 * 60_000 / 1448
    back = [sent_over(spread_packets, f"r1-{path}", "reverse") for path in ("fast", "slow")]
    # In turn, and the first goes the fast way.
    assert back == [(total + 1) // 2, total // 2]


def foretold(found: Answers, more_ns: int) -> int:
    """Reordered packets of two paths in turn, the difference of their delays so much larger."""
    paths = [
        Path(DELAYS_MS["fast"] * MS, CAPACITY_BIT_S),
        Path(DELAYS_MS["slow"] * MS + more_ns, CAPACITY_BIT_S),
    ]
    in_turn = np.arange(found.sent_ns.size) % 2
    arrived = arrivals_ns(found.sent_ns, found.size_bytes, in_turn, paths)
    return int(reordered(np.argsort(arrived, kind="stable")).sum())


def test_reordering_is_what_delays_and_sending_times_foretell(spread_packets: Recording) -> None:
    found = answers(spread_packets)
    measured = int(found.reordered.sum())
    least, most = foretold(found, -UNSURE_NS), foretold(found, UNSURE_NS)
    assert least <= measured <= most
    # Windows of 10 packets and more: they are sent in bursts, so nearly half are overtaken.
    assert least > 0.25 * found.sent_ns.size
    assert most - least < 0.15 * found.sent_ns.size


def test_packets_further_apart_than_the_delays_are_hardly_reordered(tmp_path: FilePath) -> None:
    wanted = Scenario(
        topology="two_paths",
        load=Load(rate="10/s", arrivals="periodic", requests=30),
        seed=7,
    )
    found = answers(run(wanted, tmp_path / "run"))
    assert found.sent_ns.size > 30
    measured = int(found.reordered.sum())
    assert foretold(found, -UNSURE_NS) <= measured <= foretold(found, UNSURE_NS)
    # 100 ms lie between two answers, 20 ms between the delays: what is left are packets that the
    # server sends together, such as the last acknowledgement and the end of the connection.
    assert measured < 0.25 * found.sent_ns.size


def test_the_report_has_it_in_the_layer_ip_and_no_link_reorders(spread_packets: Recording) -> None:
    layers = spread_packets.summary.layers
    order = layers["ip"].reordering
    assert order is not None
    by_hand = int(answers(spread_packets).reordered.sum())
    # The figure is of both directions; requests and acknowledgements are reordered as well.
    assert order["reordered_packets"] >= by_hand > 0
    of_link = layers["link"].reordering
    assert of_link is not None
    assert of_link["reordered_packets"] == 0
    assert spread_packets.summary.ledger.balanced
    assert spread_packets.http.completed == 8


def test_flows_that_are_spread_are_not_reordered(tmp_path: FilePath) -> None:
    recording = two_paths("flows", tmp_path / "run", new_connections=True)
    assert recording.http.completed == 8
    order = recording.summary.layers["ip"].reordering
    assert order is not None
    assert order["reordered_packets"] == 0
    # Each connection has one way: its packets are on one path only, each direction by itself.
    packets = pl.read_parquet(recording.root / "events" / "packets.parquet")
    ways = packets.filter(pl.col("node").cast(pl.String).is_in(["fast", "slow"]))
    paths_of = ways.group_by("source_port", "destination_port").agg(pl.col("node").n_unique())
    assert paths_of.height == 2 * 8
    assert paths_of["node"].to_list() == [1] * paths_of.height
