from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from testbed.analysis import series
from testbed.analysis.analyse import analyse, load_summary
from testbed.scenario import Load, Scenario
from tests.builders.frames import ACK, FIN, tcp
from tests.builders.impaired import UNCAPTURED
from tests.builders.recordings import MS, START, US, Run
from tests.builders.transfers import MSS, PORT, SERVER_PORT, data, reasons, transfer


def test_23_lost_packets_are_23_in_the_link_the_layers_the_ledger_and_tcp(tmp_path: Path) -> None:
    run = Run(loss_ratio=0.05)
    lost = frozenset(range(1, 400, 17)) - {392}
    assert len(lost) == 23
    transfer(run, 400, lost)
    summary = analyse(run.write(tmp_path / "run").root)
    link = summary.links["r1-server"]["reverse"]
    assert (link.sent_packets, link.delivered_packets, link.lost_packets) == (424, 401, 23)
    assert link.loss_runs == {"1": 23}
    assert link.realised_loss_ratio == pytest.approx(23 / 424)
    assert link.reordered_packets == 0
    assert link.one_way_delay_ns is not None
    assert link.one_way_delay_ns.p50 == 1 * MS + 30 * US
    assert summary.links["r1-server"]["forward"].lost_packets == 0
    layer = summary.layers["tcp"]
    assert layer.loss is not None
    assert layer.reordering is not None
    assert layer.loss["retransmitted_segments"] == 23
    assert layer.loss["retransmissions_explained_by_loss"] == 23
    assert layer.loss["spurious_retransmissions"] == 0
    assert layer.loss["unexplained_retransmissions"] == 0
    assert layer.reordering["duplicate_segments"] == 0
    assert layer.reordering["out_of_order_segments"] == 400 - 23 - 1
    # Over r1-server go 400 segments, 23 again and a SYN-ACK; 23 of them never see client-r1;
    # 400 acknowledgements and a SYN cross both links the other way.
    assert summary.layers["link"].loss == {
        "sent_packets": 424 + 401 + 2 * 401,
        "lost_packets": 23,
        "lost_ratio": pytest.approx(23 / 1627),
        "duplicated_packets": 0,
        "queue_dropped_packets": 0,
        "corrupted_packets": 0,
    }
    assert summary.ledger.balanced
    assert {row.what for row in summary.ledger.rows if not row.balanced} <= UNCAPTURED
    rows = {row.what: row for row in summary.ledger.rows}
    wire = rows["r1-server reverse: wire"]
    assert (wire.entered, wire.left, wire.dropped, wire.held) == (424, 401, 23, 0)
    assert rows["tcp: retransmissions"].dropped == 23
    assert rows["tcp: segments"].dropped == 23
    assert summary.verdict.status == "faithful", summary.verdict


def test_23_queue_drops_are_no_loss_of_the_link(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 300, frozenset(range(23)), where="queue")
    summary = analyse(run.write(tmp_path / "run").root)
    assert summary.links["client-r1"]["reverse"].queue_dropped_packets == 23
    assert summary.links["client-r1"]["reverse"].lost_packets == 0
    assert summary.layers["qdisc"].loss == {"dropped_packets": 23, "drop_reasons": None}
    rows = {row.what: row for row in summary.ledger.rows}
    assert (rows["r1: forwarding"].dropped, rows["r1: forwarding"].balanced) == (23, True)
    assert rows["tcp: retransmissions"].dropped == 23
    assert summary.ledger.balanced


def test_23_overtaken_packets(tmp_path: Path) -> None:
    run = Run()
    for number in range(100):
        late = number % 4 == 0 and number < 92
        data(run, number, number * 50 * US, extra_ns=120 * US if late else 0)
    summary = analyse(run.write(tmp_path / "run").root)
    assert summary.links["r1-server"]["reverse"].reordered_packets == 23
    assert summary.links["client-r1"]["reverse"].reordered_packets == 0
    layer = summary.layers["link"]
    assert layer.reordering is not None
    assert layer.reordering["reordered_packets"] == 23
    assert layer.reordering["reordering_extent_packets_max"] == 2
    assert layer.reordering["three_reordered_packets"] == 0
    assert summary.layers["tcp"].reordering is not None
    assert summary.layers["tcp"].reordering["out_of_order_segments"] == 46
    assert summary.ledger.balanced


def test_23_spurious_retransmissions(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 50)
    for number in range(23):
        data(run, number, 120 * MS + number * 10 * US)
    run.retransmitted["server"] = 23
    run.send("client", 400 * MS, tcp(SERVER_PORT, PORT, 500 + 50 * MSS, 100, flags=FIN | ACK))
    summary = analyse(run.write(tmp_path / "run").root)
    layer = summary.layers["tcp"]
    assert layer.loss is not None
    assert layer.reordering is not None
    assert layer.loss["spurious_retransmissions"] == 23
    assert layer.loss["retransmissions_explained_by_loss"] == 0
    assert layer.reordering["duplicate_segments"] == 23
    assert summary.ledger.balanced


def test_23_losses_of_netem_are_its_counters_difference(tmp_path: Path) -> None:
    run = Run(loss_ratio=0.05, wire="kernel")
    transfer(run, 400, frozenset(range(1, 400, 18)))
    summary = analyse(run.write(tmp_path / "run").root)
    assert summary.links["r1-server"]["reverse"].lost_packets == 23
    rows = {row.what: row for row in summary.ledger.rows}
    wire = rows["r1-server reverse: wire"]
    assert (wire.entered, wire.left, wire.dropped, wire.balanced) == (424, 401, 23, True)
    assert wire.note == "dropped: netem's counter"
    assert summary.ledger.balanced
    assert reasons(summary, "relay overflow") == []
    assert summary.verdict.status == "faithful", summary.verdict


def test_packets_that_a_relay_held_at_the_end_are_not_lost(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 50)
    for number in range(50, 73):
        data(run, number, 300 * MS + number * 10 * US, lost="client-r1", fate="held")
    summary = analyse(run.write(tmp_path / "run").root)
    assert summary.links["client-r1"]["reverse"].lost_packets == 0
    rows = {row.what: row for row in summary.ledger.rows}
    assert rows["client-r1 reverse: wire"].held == 23
    assert rows["tcp: segments"].held == 23
    assert summary.ledger.balanced


def test_an_overflow_of_the_relay_makes_the_run_invalid(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 50)
    data(run, 50, 300 * MS, lost="client-r1", fate="overflow")
    summary = analyse(run.write(tmp_path / "run").root)
    (overflow,) = reasons(summary, "relay overflow")
    assert (overflow.status, overflow.value) == ("invalid", 1)
    assert summary.verdict.status == "invalid"


def test_a_packet_that_vanishes_without_a_record_unbalances_the_ledger(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 50)
    run.captured["client"].pop(-3)
    summary = analyse(run.write(tmp_path / "run").root)
    assert not summary.ledger.balanced
    (ledger,) = reasons(summary, "ledger")
    assert ledger.status == "invalid"
    assert "rows do not balance" in ledger.message


def test_a_loss_that_is_not_the_logs_loss_unbalances_the_ledger_at_a_difference_of_0(
    tmp_path: Path,
) -> None:
    run = Run(loss_ratio=0.02)
    transfer(run, 50, frozenset({7}), where="client-r1")
    lost = next(record for record in run.logged["client-r1"] if record[8] == 1)
    other = next(r for r in run.logged["client-r1"] if r[8] == 0 and r[7] == 1 and r[0] == 20)
    log = run.logged["client-r1"]
    log[log.index(lost)] = (*lost[:3], lost[2] + run.late_ns, *lost[4:8], 0, 0, 0)
    log[log.index(other)] = (*other[:3], 0, *other[4:8], 1, 1, 0)
    summary = analyse(run.write(tmp_path / "run").root)
    row = next(r for r in summary.ledger.rows if r.what == "client-r1 reverse: wire")
    assert row.difference == 0
    assert row.balanced is False
    assert "2 packets are not the same" in row.note


def test_a_late_relay_makes_the_run_invalid(tmp_path: Path) -> None:
    run = Run(late_ns=1300 * US)
    transfer(run, 50)
    summary = analyse(run.write(tmp_path / "run").root)
    late = reasons(summary, "relay lateness")
    assert {reason.status for reason in late} == {"invalid"}
    assert {reason.bound for reason in late} == {1_211_200}


def test_applications(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 10)
    summary = analyse(run.write(tmp_path / "run").root)
    http = summary.http
    assert (http.requests, http.completed, http.failed) == (23, 22, 1)
    assert http.failures == {"ReadTimeout": 1}
    assert http.latency_ns is not None
    assert http.latency_ns.p50 == 5 * MS + 50 * US
    assert http.connections == 1
    assert http.goodput_bit_s == pytest.approx(22 * 1000 * 8 / 0.225)
    pressure = summary.layers["http"].backpressure
    assert pressure is not None
    assert pressure["connect_ns_p50"] == 200 * US
    assert pressure["send_ns_p50"] == 1100 * US
    assert pressure["first_byte_ns_p50"] == 1000 * US
    assert pressure["peak_in_flight_requests"] == 1
    asgi = summary.layers["asgi"].backpressure
    assert asgi is not None
    assert asgi["send_wait_ns"] == 23 * 300 * US
    assert asgi["receive_wait_ns_p99"] is None
    loop = summary.layers["event_loop"].backpressure
    assert loop is not None
    assert loop["longest_step_ns"] == 100 * US
    assert loop["lag_ns_max"] == 20 * US
    calls = summary.layers["syscall"]
    assert calls.loss == {"system_calls": 139, "failed_calls": 0, "errors": {}}
    assert calls.reordering is None
    assert calls.backpressure is not None
    assert calls.backpressure["again_calls"] == 23
    assert calls.backpressure["client_calls_per_request"] == 3
    assert calls.backpressure["server_calls_per_request"] == (3 * 23 + 1) / 23
    assert calls.backpressure["time_inside_ns"] == 23 * (10 + 2 + 4 + 4 + 10 + 10) * US + US
    assert calls.backpressure["time_waiting_readable_ns"] == 23 * (3000 - 22) * US
    assert calls.backpressure["per_send_bytes_p50"] == 199
    assert calls.backpressure["calls"] == {"send": 69, "recv": 69, "accept": 1}


def test_a_second_analysis_gives_the_same_bytes(tmp_path: Path) -> None:
    run = Run(loss_ratio=0.05)
    transfer(run, 100, frozenset({3, 50}))
    layout = run.write(tmp_path / "run")

    def digests() -> dict[str, str]:
        return {
            str(path.relative_to(layout.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in layout.root.rglob("*")
            if path.is_file()
        }

    first = analyse(layout.root)
    before = digests()
    assert {"summary.json", "events/http.parquet", "links/r1-server.parquet"} <= set(before)
    assert analyse(layout.root) == first
    assert digests() == before
    assert load_summary(layout.root) == first
    assert all(path.stat().st_mode & 0o077 == 0 for path in layout.root.rglob("*.parquet"))


def test_clocks_that_drift_apart_change_no_delay(tmp_path: Path) -> None:
    run = Run(drift_ns=5 * MS)
    transfer(run, 100)
    summary = analyse(run.write(tmp_path / "run").root)
    delays = summary.links["client-r1"]["forward"].one_way_delay_ns
    assert delays is not None
    assert abs(delays.max - (1 * MS + 30 * US)) < 10 * US
    packets = pl.read_parquet(tmp_path / "run" / "events" / "packets.parquet")
    sent = packets.filter((pl.col("node") == "client") & pl.col("outgoing"))["t_ns"]
    assert abs(sent[0] - START) <= 1
    assert abs(sent[-1] - (START + 200 * MS + 99 * 20 * US)) <= 1


def test_series_have_every_kind_and_times_from_the_start_of_the_load(tmp_path: Path) -> None:
    run = Run(loss_ratio=0.05)
    transfer(run, 400, frozenset(range(0, 400, 20)))
    layout = run.write(tmp_path / "run")
    analyse(layout.root)
    found = series.build(layout.root)
    assert found.origin_ns == START
    assert found.duration_ns == 1000 * MS
    assert found.missing == {}
    (latency,) = found.latency
    assert latency.t_ns[0] == -50 * US
    assert latency.failed == [False] * 22 + [True]
    throughput = next(
        t for t in found.throughput if (t.link, t.direction) == ("client-r1", "reverse")
    )
    assert throughput.window_ns == 100 * MS
    assert throughput.t_ns == [n * 100 * MS for n in range(len(throughput.t_ns))]
    size = 14 + 20 + 32 + MSS
    assert throughput.bit_s[1] == pytest.approx(20 * size * 8 / 0.1)
    assert throughput.capacity_bit_s == 10_000_000
    losses = next(x for x in found.losses if (x.link, x.direction) == ("r1-server", "reverse"))
    assert len(losses.t_ns) == 20
    assert losses.t_ns[1] == 10 * MS + 20 * 10 * US
    queue = next(q for q in found.queues if q.interface == "r1-eth1")
    assert (queue.limit_packets, queue.link, queue.direction) == (50, "r1-server", "forward")
    assert len(found.delays) == 4


def test_retransmissions_that_the_captures_missed_unbalance_the_ledger(tmp_path: Path) -> None:
    run = Run()
    transfer(run, 50)
    run.retransmitted["client"] = 1
    summary = analyse(run.write(tmp_path / "run").root)
    row = next(r for r in summary.ledger.rows if r.what == "tcp: kernel to captures")
    assert (row.entered, row.left, row.balanced) == (1, 0, False)


def test_a_load_generator_that_is_late_makes_an_open_loop_invalid(tmp_path: Path) -> None:
    run = Run(scenario=Scenario(topology="single_bottleneck", load=Load(rate="100000/s")))
    transfer(run, 10)
    summary = analyse(run.write(tmp_path / "run").root)
    (late,) = reasons(summary, "load generator")
    assert (late.value, late.status) == (50 * US, "faithful")
    assert late.bound == 10 * MS
