"""Rule: what `benchmarks.theory` holds the testbed against is the theory, and it reads the tools'
own output.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from benchmarks.theory import __main__ as command
from benchmarks.theory import drop_tail, formulas, iperf3, mathis, ping, relay_log
from benchmarks.theory.table import aligned
from testbed.errors import ToolError, ToolMissingError
from testbed.events.link import DIRECTIONS, FATES, RELAY_RECORD
from testbed.recording.layout import Layout, create
from testbed.recording.segments import SegmentHeader, SegmentWriter
from tests.support.data import pasted

MS = 1_000_000
MSS = 1448


@pytest.mark.parametrize(
    ("loss_ratio", "mathis_mbit_s", "pftk_mbit_s"),
    [
        pytest.param(0.001, 8.97, 8.87, id="0.1%"),
        pytest.param(0.01, 2.84, 2.55, id="1%"),
        pytest.param(0.02, 2.01, 1.63, id="2%"),
    ],
)
def test_the_formulas_at_50_ms(loss_ratio: float, mathis_mbit_s: float, pftk_mbit_s: float) -> None:
    periodic = formulas.mathis_bit_s(loss_ratio, 0.05, MSS, formulas.MATHIS_PERIODIC)
    assert periodic / 1e6 == pytest.approx(mathis_mbit_s, abs=0.005)
    assert formulas.pftk_bit_s(loss_ratio, 0.05, MSS) / 1e6 == pytest.approx(pftk_mbit_s, abs=0.005)


@pytest.mark.parametrize(("queue", "bound_ms"), [(20, 189.6), (100, 835.5)])
def test_the_drop_tail_bound(queue: int, bound_ms: float) -> None:
    wait_ms = formulas.drop_tail_wait_ns(queue, 1_500_000) / MS
    assert 20 + wait_ms == pytest.approx(bound_ms, abs=0.05)


def test_constant_and_spread_are_those_of_halving_at_random_losses() -> None:
    # The model itself: W grows by 1 / W a packet, so W^2 by 2; a loss after an exponential number
    # of packets halves it. 400 losses in each of 4000 flows: both figures to about 1 %.
    rng, p, flows, losses = np.random.default_rng(7), 0.01, 4000, 400
    window = np.full(flows, math.sqrt(8 / (3 * p)))
    packets, rounds = np.zeros(flows), np.zeros(flows)
    for loss in range(-20, losses):  # the first twenty take it from its start to its long run
        between = rng.exponential(1 / p, flows)
        grown = np.sqrt((window / 2) ** 2 + 2 * between)
        if loss >= 0:
            packets, rounds = packets + between, rounds + grown - window / 2
        window = grown
    goodput = packets / rounds
    constant = packets.sum() / rounds.sum() * math.sqrt(p)
    assert constant == pytest.approx(formulas.MATHIS_RANDOM, rel=0.01)
    spread = goodput.std() / goodput.mean() * math.sqrt(losses)
    assert spread == pytest.approx(formulas.EVENT_SPREAD, rel=0.05)


def test_the_band_narrows_with_the_losses_to_what_lies_between_the_formulas() -> None:
    low, high = formulas.mathis_band_bit_s(0.02, 0.05, MSS, 10**12)
    assert low == pytest.approx(formulas.pftk_bit_s(0.02, 0.05, MSS), rel=1e-5)
    assert high == pytest.approx(formulas.mathis_bit_s(0.02, 0.05, MSS, 1.31), rel=1e-5)
    wide_low, wide_high = formulas.mathis_band_bit_s(0.02, 0.05, MSS, 36)
    assert (wide_low / low, wide_high / high) == pytest.approx((0.74, 1.26), abs=1e-4)
    assert formulas.mathis_band_bit_s(0.02, 0.05, MSS, 1)[0] == 0


@pytest.mark.parametrize(
    ("values", "mean", "half_width"),
    [
        pytest.param([3.0], 3.0, None, id="one value has no interval"),
        # Standard deviation sqrt(2.5), 2.78 * sqrt(2.5 / 5).
        pytest.param([1.0, 2.0, 3.0, 4.0, 5.0], 3.0, 1.966, id="five"),
        pytest.param([1.0, 3.0] * 10, 2.0, 0.5185, id="twenty, with the quantile of ten"),
    ],
)
def test_confidence_interval(
    values: Sequence[float], mean: float, half_width: float | None
) -> None:
    found_mean, found = formulas.mean_and_half_width(values)
    assert found_mean == pytest.approx(mean)
    assert found == (None if half_width is None else pytest.approx(half_width, abs=0.001))


def test_pings_of_a_real_output() -> None:
    pings = ping.parse(pasted("ping_drop_tail.txt"))
    assert (pings.sent, len(pings.rtts_ms)) == (30, 28)
    assert (pings.rtts_ms[0], pings.rtts_ms[2], max(pings.rtts_ms)) == (20.2, 104.0, 182.0)
    assert median(pings.rtts_ms) == 141.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param((r"\n--- .*", ""), "no summary", id="cut short"),
        pytest.param((r"\n[^\n]*icmp_seq=3 [^\n]*", ""), "27 lines of replies", id="a line lacks"),
        pytest.param(
            ("icmp_seq=4 ", "icmp_seq=3 "), "27 different numbers", id="a reply came twice"
        ),
    ],
)
def test_pings_that_do_not_add_up_are_refused(change: tuple[str, str], message: str) -> None:
    text = re.sub(*change, pasted("ping_drop_tail.txt"), count=1, flags=re.DOTALL)
    with pytest.raises(ToolError, match=message):
        ping.parse(text)


def test_a_flow_of_a_real_output() -> None:
    flow = iperf3.parse(pasted("iperf3_client.txt"))
    assert flow.goodput_bit_s == pytest.approx(1_411_706, abs=1)
    assert (flow.mss_bytes, flow.retransmits, flow.congestion_control) == (MSS, 37, "reno")
    assert flow.rtt_ns == 136_577_000
    assert flow.window_limited_seconds == 0


def test_a_flow_whose_receiver_has_a_small_window_says_so() -> None:
    text = re.sub(r'"snd_wnd":\s*\d+', '"snd_wnd": 14480', pasted("iperf3_client.txt"))
    assert iperf3.parse(text).window_limited_seconds == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            '{"start": {}, "error": "unable to connect"}', "unable to connect", id="error"
        ),
        pytest.param('{"start": {}, "intervals": [], "end": {}}', "unknown form", id="no figures"),
        pytest.param("", "unknown form", id="nothing"),
    ],
)
def test_a_flow_that_failed_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        iperf3.parse(text)


def relay_logged(folder: Path, packets: Sequence[tuple[int, int, str, int]]) -> Layout:
    """A relay's log of `a-b`, forward: arrival in ms, size, fate, lateness in us of each packet."""
    layout = create(folder)
    records = np.zeros(len(packets), dtype=RELAY_RECORD)
    for number, (at_ms, size, fate, late_us) in enumerate(packets):
        due_ns = (at_ms + 25) * MS
        records[number]["number"] = number
        records[number]["arrival_ns"] = at_ms * MS
        records[number]["due_ns"] = due_ns
        records[number]["departure_ns"] = 0 if fate == "lost" else due_ns + late_us * 1000
        records[number]["size_bytes"] = size
        records[number]["direction"] = DIRECTIONS.index("forward")
        records[number]["fate"] = FATES.index(fate)
    header = SegmentHeader(
        layout="records",
        source="link",
        process="relay",
        fields=[(name, kind) for name, kind in RELAY_RECORD],
    )
    path = layout.segment("link.a-b")
    writer = SegmentWriter(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), header)
    writer.append(records.tobytes())
    writer.close()
    return layout


def test_losses_within_one_round_trip_are_one_event(tmp_path: Path) -> None:
    packets = [
        (100, 74, "delivered", 0),  # a SYN: no data
        (110, 1514, "lost", 0),  # the first with data; too early to count
        (2110, 1514, "delivered", 80),
        (2120, 1514, "lost", 0),
        (2169, 1514, "lost", 0),  # 49 ms later: the same event
        (2170, 1514, "lost", 0),  # 50 ms after the first of it: another
        (2300, 66, "lost", 0),  # an ACK
        (2400, 1514, "delivered", 120),
    ]
    layout = relay_logged(tmp_path / "log", packets)
    data = relay_log.data_loss(layout, "a-b", "forward", 2000 * MS, 50 * MS)
    assert (data.packets, data.lost, data.events, data.ratio) == (5, 3, 2, 0.6)
    assert relay_log.crossings(layout) == [("a-b", "forward"), ("a-b", "reverse")]
    late = relay_log.lateness(layout, "a-b", "forward")
    assert (late.p50_ns, late.max_ns) == (80_000, 120_000)


def test_jobs_are_for_every_case_and_each_has_a_name_of_its_own() -> None:
    jobs = [*mathis.jobs([1, 2]), *drop_tail.jobs(1)]
    names = [job.name for job in jobs]
    assert len(set(names)) == len(names) == 2 * 3 + 2 * 2
    # Pings go on as long as the flow does.
    assert {(job.seconds, job.loaded_pings) for job in jobs[6:]} == {(60, 600)}


@pytest.mark.parametrize(
    ("longest_ms", "verdict"),
    [
        pytest.param(149, "outside", id="the queue was never full"),
        pytest.param(150, "inside", id="full"),
        pytest.param(190, "inside", id="at the bound"),
        pytest.param(192, "late", id="over it, by no more than the relay was late"),
        pytest.param(193, "outside", id="over it"),
    ],
)
def test_verdict_on_the_longest_ping(longest_ms: float, verdict: str) -> None:
    assert drop_tail.judge(longest_ms, 150, 190, 2) == verdict


def test_rows_are_aligned() -> None:
    assert aligned([["a", "b"], ["long", ""], ["", "c"]]) == "a     b\nlong\n      c"


@pytest.mark.parametrize("option", ["--seeds", "--at-once"])
def test_numbers_that_make_no_sense_are_refused(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main([option, "0"])
    assert 'expected a whole number of at least 1 (got "0")' in capsys.readouterr().err


def test_without_iperf3_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(tool: str) -> str:
        raise ToolMissingError(f'the program "{tool}" is not installed', where=tool)

    monkeypatch.setattr("benchmarks.theory.measure.find_tool", lacks)
    assert command.main(["--quick"]) == ToolMissingError.exit_code
    assert 'the program "iperf3" is not installed' in capsys.readouterr().err
