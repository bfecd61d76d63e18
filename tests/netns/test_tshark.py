"""Rule: tshark sees the same in the same capture, or a stated rule says why it does not.

tshark analyses TCP by code that has nothing in common with ours. One run with loss, reordering,
duplication and a slow reader, looked at in the captures of both hosts. The rules are those of
docs/reference/events/tcp.md, "Compared with tshark".
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from testbed import Link, Load, Recording, Scenario, run
from testbed.analysis.captures import Packets, read_capture
from testbed.analysis.metrics import tcp
from testbed.analysis.metrics.streams import Streams, streams
from testbed.recording.layout import Layout
from tests.support.tshark import KINDS, Rules, Seen, tshark

pytestmark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed (Debian's package tshark)"
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    scenario = Scenario(
        topology="single_bottleneck",
        app="stream",
        link=Link(capacity="20mbit", delay="10ms", loss="1%", reorder="2%", duplicate="1%"),
        load=Load(users=4, requests=12, path="/?size=300kB&chunk=64kB", read_rate="2mbit"),
        congestion_control="cubic",
        link_backend="relay",
        seed=7,
    )
    return run(scenario, tmp_path_factory.mktemp("tshark") / "run")


@dataclass(frozen=True)
class Both:
    """A capture as both see it."""

    packets: Packets
    seen: Seen
    all: Streams
    segments: Streams
    """Those of `all` that carry sequence numbers."""

    def rows(self, of: Streams, flags: tcp.Flags) -> set[int]:
        """Those that are marked, as rows of the capture."""
        return set(of.row[flags].tolist())

    @property
    def highest_before(self) -> dict[int, int | None]:
        """Per row the highest stream offset of the packets of its stream before it."""
        found: dict[int, int | None] = {}
        highest: dict[int, int] = {}
        for row, stream, end in zip(
            self.all.row.tolist(), self.all.stream.tolist(), self.all.end.tolist(), strict=True
        ):
            found[row] = highest.get(stream)
            highest[stream] = max(end, highest.get(stream, end))
        return found

    @property
    def start(self) -> dict[int, int]:
        """Per row its stream offset."""
        return dict(zip(self.all.row.tolist(), self.all.start.tolist(), strict=True))


@pytest.fixture(scope="module", params=["client", "server"])
def both(recording: Recording, request: pytest.FixtureRequest) -> Both:
    path = Layout(recording.root).root / "packets" / f"{request.param}.pcapng"
    packets = read_capture(path).packets
    every = streams(packets)
    return Both(packets, tshark(path), every, every.take(every.carries))


def test_the_run_had_something_of_everything(both: Both) -> None:
    for kind in (*KINDS[2:], "fast_retransmission", "duplicate_ack", "zero_window"):
        assert both.seen.rows[kind], kind


def test_late_segments_are_the_same_and_each_has_its_kind_by_the_rules(both: Both) -> None:
    theirs, ours = both.seen.late, both.rows(both.segments, tcp.retransmitted(both.segments))
    assert Rules(both.packets, both.seen.handshake_ns).late() == theirs
    assert ours <= theirs.keys()
    # Below the number of an acknowledgement without data, and of no data: late for tshark alone.
    carried = dict(zip(both.all.row.tolist(), both.all.carries.tolist(), strict=True))
    highest = both.highest_before
    for row in theirs.keys() - ours:
        assert carried[row]
        assert both.start[row] < (highest[row] or 0)


def test_holes_are_where_segments_lie_beyond_what_came(both: Both) -> None:
    beyond, _ = tcp.arrivals(both.segments)
    ours, theirs = both.rows(both.segments, beyond), both.seen.rows["lost_segment"]
    for row in theirs - ours:
        assert both.packets.payload[row] == 0
    # Only the first segment after each hole is marked by tshark.
    highest = both.highest_before
    for row in ours - theirs:
        assert both.start[row] <= (highest[row] or 0)


def test_duplicate_acks_differ_by_rule_only(both: Both) -> None:
    ours = both.rows(both.all, tcp.duplicate_acks(both.packets, both.all))
    theirs = both.seen.rows["duplicate_ack"]
    assert len(ours & theirs) > 23
    for row in ours - theirs:
        closed = both.packets.window[row] == 0
        assert closed or row in both.seen.rows["keep_alive_ack"], row
    place = {row: index for index, row in enumerate(both.all.row.tolist())}
    for row in theirs - ours:
        index = place[row]
        assert both.all.start[index] != both.all.end[index - 1], row


def test_closed_windows_are_the_same(both: Both) -> None:
    closed = tcp.zero_windows(both.packets, both.all)
    assert both.rows(both.all, closed) == both.seen.rows["zero_window"]


def test_the_summary_counts_what_tshark_counts(recording: Recording) -> None:
    """Retransmissions: late segments in the captures of those who sent them."""
    layout = Layout(recording.root)
    late = 0
    for node, address in (("client", "10.0.0.1"), ("server", "10.0.1.1")):
        path = layout.root / "packets" / f"{node}.pcapng"
        packets = read_capture(path).packets
        number = int.from_bytes(bytes(map(int, address.split("."))), "big")
        sent = np.flatnonzero(packets.source == number).tolist()
        late += len(tshark(path).late.keys() & set(sent))
    loss = recording.summary.layers["tcp"].loss
    assert loss is not None
    assert loss["retransmitted_segments"] == late
