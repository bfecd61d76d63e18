"""What a wire does to packets, in every place where it must show, packet for packet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from testbed.analysis import series
from testbed.recording.manifest import AppliedChange
from testbed.scenario.impairments import (
    Bernoulli,
    Every,
    GilbertElliott,
    Listed,
    Outage,
    Reorder,
    Segments,
    Trace,
    Variation,
)
from tests.builders.frames import tcp
from tests.builders.impaired import (
    WAY,
    analysed,
    assert_trusted,
    change,
    direction,
    row,
    rule,
    send,
)
from tests.builders.recordings import MS, START, US, Run
from tests.builders.transfers import PORT, SERVER_PORT, data, reasons


def test_23_copies_are_23_everywhere(tmp_path: Path) -> None:
    run = Run(settings={WAY: {"duplicate": Every(n=10)}})
    send(run, 230, lambda n: {"copied": "r1-server"} if n % 10 == 9 else {})
    summary = analysed(run, tmp_path)
    link = direction(summary)
    assert (link.sent_packets, link.delivered_packets, link.lost_packets) == (230, 253, 0)
    assert (link.duplicated_packets, link.reordered_packets) == (23, 0)
    assert link.duplicated_ratio == pytest.approx(0.1)
    # What r1 got twice it passes on twice.
    behind = direction(summary, ("client-r1", "reverse"))
    assert (behind.sent_packets, behind.duplicated_packets) == (253, 0)
    found = rule(summary, "duplication")
    assert (found.packets, found.count, found.expected, found.holds) == (230, 23, 23, True)
    for what in ("relay", "wire"):
        one = row(summary, f"r1-server reverse: {what}")
        assert (one.entered, one.made, one.left, one.difference) == (230, 23, 253, 0)
    segments = row(summary, "tcp: segments")
    assert (segments.entered, segments.made, segments.left) == (230, 23, 253)
    assert summary.layers["link"].loss is not None
    assert summary.layers["link"].loss["duplicated_packets"] == 23
    assert summary.layers["tcp"].reordering is not None
    assert summary.layers["tcp"].reordering["duplicate_segments"] == 23
    assert_trusted(summary)
    table = pl.read_parquet(tmp_path / "run" / "events" / "crossings.parquet")
    copies = table.filter(pl.col("copy"))
    assert copies["relay_number"].to_list() == list(range(9, 230, 10))
    assert copies["sent_ns"].null_count() == 0
    log = pl.read_parquet(tmp_path / "run" / "links" / "r1-server.parquet")
    assert log["copy"].sum() == 23


@pytest.mark.parametrize(
    ("flip", "checksum", "left"),
    [
        pytest.param(40, "tcp", 230, id="TCP header: passes the router"),
        pytest.param(200, "tcp", 230, id="payload beyond the digest"),
        pytest.param(22, "ip", 207, id="TTL: ends at the router"),
        pytest.param(23, "ip", 207, id="protocol: is TCP no more"),
        pytest.param(14, "ip", 207, id="version: is IP no more"),
    ],
)
def test_23_corrupted_packets_are_dropped_by_a_checksum(
    tmp_path: Path, flip: int, checksum: str, left: int
) -> None:
    run = Run(settings={WAY: {"corrupt": Every(n=10)}})
    send(run, 230, lambda n: {"corrupted": "r1-server", "flip": flip} if n % 10 == 9 else {})
    summary = analysed(run, tmp_path)
    link = direction(summary)
    assert (link.delivered_packets, link.lost_packets, link.corrupted_packets) == (230, 0, 23)
    assert direction(summary, ("client-r1", "reverse")).sent_packets == left
    assert rule(summary, "corruption").holds
    dropped = row(summary, "corrupted: dropped by checksum")
    assert (dropped.entered, dropped.dropped, dropped.balanced) == (23, 23, True)
    assert "23 by checksums of IP, 0 of TCP" in dropped.note or checksum == "tcp"
    segments = row(summary, "tcp: segments")
    assert (segments.entered, segments.left, segments.dropped) == (230, 207, 23)
    assert_trusted(summary)


def test_a_checksum_that_no_corrupted_packet_explains_unbalances_the_ledger(
    tmp_path: Path,
) -> None:
    run = Run(settings={WAY: {"corrupt": Every(n=10)}})
    send(run, 30, lambda n: {"corrupted": "r1-server"} if n % 10 == 9 else {})
    run.checksum_errors["client"] += 1
    summary = analysed(run, tmp_path)
    one = row(summary, "corrupted: dropped by checksum")
    assert (one.entered, one.dropped, one.balanced) == (3, 4, False)


def test_what_is_sent_again_for_a_corrupted_segment_is_explained(tmp_path: Path) -> None:
    run = Run(settings={WAY: {"corrupt": Listed(numbers=tuple(range(23)))}})
    send(run, 100, lambda n: {"corrupted": "r1-server"} if n < 23 else {})
    for number in range(23):
        data(run, number, 110 * MS + number * 10 * US)
    run.retransmitted["server"] = 23
    summary = analysed(run, tmp_path)
    layer = summary.layers["tcp"].loss
    assert layer is not None
    assert layer["retransmissions_explained_by_corruption"] == 23
    assert layer["retransmissions_explained_by_loss"] == 0
    assert layer["spurious_retransmissions"] == 0
    one = row(summary, "tcp: retransmissions")
    assert (one.dropped, one.left) == (23, 0)
    assert "0 lost and 23 corrupted" in one.note
    assert_trusted(summary)


def test_23_overtaken_packets_by_log_and_by_captures(tmp_path: Path) -> None:
    late = {"extra_ns": 350 * US, "overtaken": "yes"}
    run = Run(settings={WAY: {"reorder": Reorder(pick=Every(n=10))}})
    send(run, 235, lambda n: late if n % 10 == 9 else {})
    for number in range(9, 230, 10):
        data(run, number, 60 * MS + number * 10 * US)
    run.retransmitted["server"] = 23
    run.settings[WAY]["reorder"] = Reorder(pick=Listed(numbers=tuple(range(9, 230, 10))))
    summary = analysed(run, tmp_path)
    link = direction(summary)
    assert (link.reordered_packets, link.three_reordered_packets) == (23, 23)
    assert link.reordered_ratio == pytest.approx(23 / 258)
    assert link.reordering_extent_packets is not None
    assert (link.reordering_extent_packets.p50, link.reordering_extent_packets.max) == (3, 3)
    assert link.reordering_late_ns is not None
    assert link.reordering_late_ns.max == 250 * US
    found = rule(summary, "reordering")
    assert (found.count, found.expected, found.holds) == (23, 23, True)
    one = row(summary, "r1-server reverse: reordering")
    assert (one.entered, one.left, one.balanced) == (23, 23, True)
    tcp = summary.layers["tcp"]
    assert tcp.loss is not None
    assert tcp.reordering is not None
    assert tcp.loss["spurious_retransmissions"] == 23
    assert tcp.reordering["spurious_retransmissions_by_reordering"] == 23
    assert "23 of them overtaken" in row(summary, "tcp: retransmissions").note
    assert_trusted(summary)


def test_another_order_in_the_capture_unbalances_the_ledger(tmp_path: Path) -> None:
    run = Run()
    send(run, 50, lambda n: {})
    mine = [n for n, (_, name, _) in enumerate(run.captured["r1"]) if name == "r1-eth1"]
    first, second = (run.captured["r1"][mine[place]] for place in (20, 21))
    run.captured["r1"][mine[20]] = (second[0], *first[1:])
    run.captured["r1"][mine[21]] = (first[0], *second[1:])
    summary = analysed(run, tmp_path)
    one = row(summary, "r1-server reverse: reordering")
    assert (one.entered, one.left, one.balanced) == (0, 1, False)


def test_a_packet_may_be_copied_corrupted_and_overtaken_at_once(tmp_path: Path) -> None:
    every = Every(n=10)
    run = Run(
        settings={WAY: {"duplicate": every, "corrupt": every, "reorder": Reorder(pick=every)}}
    )
    all_of_it = {
        "copied": "r1-server",
        "corrupted": "r1-server",
        "extra_ns": 350 * US,
        "overtaken": "yes",
    }
    send(run, 235, lambda n: all_of_it if n % 10 == 9 else {})
    summary = analysed(run, tmp_path)
    link = direction(summary)
    assert (link.sent_packets, link.delivered_packets) == (235, 258)
    assert (link.duplicated_packets, link.corrupted_packets, link.reordered_packets) == (23, 23, 23)
    one = row(summary, "corrupted: dropped by checksum")
    assert (one.entered, one.dropped) == (46, 46)
    segments = row(summary, "tcp: segments")
    assert (segments.entered, segments.made, segments.left, segments.dropped) == (235, 23, 212, 46)
    assert_trusted(summary)


def test_a_wrong_packet_breaks_an_exact_rule(tmp_path: Path) -> None:
    run = Run(settings={WAY: {"loss": Every(n=10), "loss_ratio": 0.1}})
    lost = {9, 19, 30}
    send(run, 35, lambda n: {"lost": "r1-server", "reason": "every"} if n in lost else {})
    summary = analysed(run, tmp_path)
    found = rule(summary, "loss")
    assert (found.count, found.expected, found.holds) == (3, 3, False)
    (reason,) = reasons(summary, "realised loss")
    assert reason.status == "invalid"
    assert summary.verdict.status == "invalid"


def test_bursts_have_the_room_of_their_variance(tmp_path: Path) -> None:
    bursty = GilbertElliott(p=0.01, r=0.25)
    run = Run(settings={WAY: {"loss": bursty, "loss_ratio": bursty.mean_ratio}})
    lost = {*range(100, 108), *range(200, 206), *range(300, 306), *range(350, 356)}
    gone = {"lost": "r1-server", "reason": "gilbert_elliott"}
    send(run, 400, lambda n: gone if n in lost else {})
    summary = analysed(run, tmp_path)
    found = rule(summary, "loss")
    assert found.rule == "gilbert-elliott p 1% r 25%"
    assert found.configured_ratio == pytest.approx(1 / 26)
    assert found.holds
    assert found.low is not None
    assert found.low < 1 / 26
    link = direction(summary)
    assert link.loss_runs == {"6": 3, "8": 1}
    assert link.mean_loss_run_packets == pytest.approx(6.5)
    assert link.burst_ratio == pytest.approx(6.5 * (1 - 26 / 400))


def test_the_third_data_segment_of_each_flow(tmp_path: Path) -> None:
    run = Run(settings={WAY: {"loss": Segments(ordinals=(3, 5))}})
    gone = {"lost": "r1-server", "reason": "segments"}
    send(run, 20, lambda n: gone if n in (2, 4) else {})
    assert rule(analysed(run, tmp_path), "loss").holds


def test_an_outage_takes_what_comes_in_its_time(tmp_path: Path) -> None:
    outage = (Outage(start_ns=1 * MS, duration_ns=1 * MS),)
    run = Run(settings={WAY: {"outages": outage}})
    gone = {"lost": "r1-server", "reason": "outage"}
    send(run, 40, lambda n: gone if 10 <= n < 20 else {})
    summary = analysed(run, tmp_path)
    found = rule(summary, "outage")
    assert (found.rule, found.packets, found.count, found.holds) == ("at 1ms for 1ms", 10, 10, True)
    assert direction(summary).loss_runs == {"10": 1}
    assert [one for one in direction(summary).impairments if one.impairment == "loss"] == []


def test_queue_drops_of_a_trace_are_no_loss(tmp_path: Path) -> None:
    trace = Trace(name="cellular", opportunities=10, period_ms=10, sha256="")
    run = Run(settings={WAY: {"trace": trace, "capacity_bit_s": trace.mean_bit_s}})
    full = {"lost": "r1-server", "fate": "dropped"}
    send(run, 100, lambda n: full if n >= 77 else {"extra_ns": 2 * MS})
    summary = analysed(run, tmp_path)
    link = direction(summary)
    assert (link.lost_packets, link.queue_dropped_packets) == (0, 23)
    assert link.peak_queue_packets == 20
    one = row(summary, "r1-server reverse: wire")
    assert (one.entered, one.left, one.dropped) == (100, 77, 23)
    assert reasons(summary, "drop-tail bound") != []
    assert_trusted(summary)


def test_the_relays_own_plan_is_what_delays_are_held_against(tmp_path: Path) -> None:
    varied = Variation(spread_ns=5 * MS, overtaking=True)
    run = Run(settings={WAY: {"delay_variation": varied}})
    send(run, 100, lambda n: {"extra_ns": (n * 37 % 50) * 100 * US})
    summary = analysed(run, tmp_path)
    link = direction(summary)
    assert link.planned_delay_ns is not None
    assert link.planned_variation_ns is not None
    assert (link.planned_delay_ns.min, link.planned_delay_ns.max) == (1 * MS, 5_900 * US)
    assert (link.planned_variation_ns.min, link.planned_variation_ns.max) == (0, 4_900 * US)
    assert {reason.status for reason in reasons(summary, "delay error")} == {"faithful"}


def test_each_rule_counts_while_it_is_in_force(tmp_path: Path) -> None:
    run = Run(settings={WAY: {"loss": Every(n=10), "loss_ratio": 0.1}})
    change(run, 10 * MS, loss=Every(n=5), loss_ratio=0.2)
    change(run, 15 * MS, loss=Every(n=5), loss_ratio=0.2, delay_ns=2 * MS)
    change(run, 20 * MS, loss=None, loss_ratio=0.0, delay_ns=2 * MS)

    def what(number: int) -> dict[str, Any]:
        every = 10 if number < 100 else 5 if number < 200 else 1000
        gone = {"lost": "r1-server", "reason": "every"} if (number + 1) % every == 0 else {}
        return gone | ({"extra_ns": 1 * MS} if number >= 150 else {})

    send(run, 300, what)
    summary = analysed(run, tmp_path)
    seen = [
        (one.rule, one.since_ns, one.packets, one.count, one.expected, one.holds)
        for one in direction(summary).impairments
    ]
    assert seen == [
        ("every 10", None, 100, 10, 10, True),
        ("every 5", 10 * MS, 100, 20, 20, True),
    ]
    assert_trusted(summary)
    found = series.build(tmp_path / "run")
    assert [(one.t_ns, one.link) for one in found.changes] == [
        (10 * MS, "r1-server"),
        (15 * MS, "r1-server"),
        (20 * MS, "r1-server"),
    ]


@pytest.mark.parametrize(("changed", "status"), [(True, "faithful"), (False, "degraded")])
def test_the_drop_tail_bound_has_the_capacity_in_force(
    tmp_path: Path, changed: bool, status: str
) -> None:
    way = ("r1-server", "forward")
    run = Run(queue_packets=2)
    if changed:
        run.changes.append(
            AppliedChange(
                at_ns=START - 1,
                done_ns=START,
                link=way[0],
                direction="forward",
                text="capacity 2mbit",
                source="schedule",
                settings=run.direction(way, capacity_bit_s=2_000_000),
            )
        )
    run.transit_ns = 8 * MS  # 3 packets take 3.6 ms at 10 Mbit/s and 18.2 ms at 2 Mbit/s
    for number in range(20):
        run.send("server", number * MS, tcp(PORT, SERVER_PORT, 100, 500 + number))
    summary = analysed(run, tmp_path)
    (forward,) = [
        reason
        for reason in reasons(summary, "drop-tail bound")
        if reason.message.startswith("r1 → server: ")
    ]
    assert forward.status == status


def test_a_capacity_that_was_not_in_force_is_seen(tmp_path: Path) -> None:
    run = Run(capacity_bit_s=100_000_000)
    change(run, 100 * MS, capacity_bit_s=1_000_000)
    change(run, 400 * MS)
    way = ("client-r1", "reverse")
    run.changes = [
        msgspec.structs.replace(
            one,
            link=way[0],
            settings=run.direction(way, capacity_bit_s=one.settings.capacity_bit_s or 10**8),
        )
        for one in run.changes
    ]
    send(run, 6000, lambda n: {})
    summary = analysed(run, tmp_path)
    (found,) = [r for r in reasons(summary, "capacity") if r.message.startswith("r1 → client: ")]
    assert found.status == "invalid"
    assert "1 Mbit/s were set" in found.message


def test_a_log_of_version_0_1_is_read(tmp_path: Path) -> None:
    run = Run(legacy_log=True, settings={WAY: {"loss": None, "loss_ratio": 0.02}})
    gone = {"lost": "r1-server"}
    send(run, 1000, lambda n: gone if n % 50 == 9 else {})
    run.settings[WAY]["loss"] = Bernoulli(ratio=0.02)
    summary = analysed(run, tmp_path)
    assert direction(summary).lost_packets == 20
    assert direction(summary).corrupted_packets == 0
    assert_trusted(summary)


def test_a_loss_that_no_rule_asks_for_is_the_relays_fault(tmp_path: Path) -> None:
    run = Run()
    send(run, 100, lambda n: {"lost": "r1-server"} if n == 9 else {})
    summary = analysed(run, tmp_path)
    assert not rule(summary, "loss").holds
    (found,) = [one for one in reasons(summary, "realised loss") if one.status != "faithful"]
    assert found.status == "invalid"
    assert "1 of 100 packets were lost" in found.message
