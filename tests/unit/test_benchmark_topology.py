"""Rule: a ratio compares turns of one round; what was not measured has a reason; every subject
builds the same star."""

from __future__ import annotations

import pytest

from benchmarks.topology import star
from benchmarks.topology.__main__ import main
from benchmarks.topology.results import (
    CAPACITY,
    DELAY,
    MININET,
    MININET_TC,
    Results,
    Turn,
    ratios,
    table,
)
from testbed.network.plan import make_plan
from testbed.scenario import Scenario


def turn(subject: str, number: int, start_s: float, hosts: int = 100) -> Turn:
    return Turn(
        subject=subject,
        hosts=hosts,
        round_number=number,
        start_s=start_s,
        forwarding_s=2 * start_s,
        stop_s=start_s / 2,
    )


# The machine is twice as fast in round 1; round 2 has no reference.
TURNS = [
    turn(MININET, 0, 2.0), turn(CAPACITY, 0, 1.0), turn(DELAY, 0, 3.0),
    turn(MININET, 1, 1.0), turn(CAPACITY, 1, 0.6), turn(DELAY, 1, 0.9),
    turn(CAPACITY, 2, 0.1), turn(CAPACITY, 0, 0.25, hosts=10),
]  # fmt: skip


def test_a_ratio_is_that_of_a_round() -> None:
    assert ratios(TURNS, CAPACITY, 100, "start_s") == [0.5, 0.6]
    assert ratios(TURNS, CAPACITY, 100, "stop_s") == [0.5, 0.6]
    assert ratios(TURNS, CAPACITY, 10, "start_s") == []


def test_the_table() -> None:
    results = Results(
        kernel="6.1.0", cpus=2, turns=TURNS, reasons={MININET_TC: "not installed: brctl"}
    )
    head, empty, *lines = table(results).splitlines()
    assert head == (
        "Linux 6.1.0, 2 CPUs; star of n hosts; medians of 3 rounds, ratios are medians of the "
        "rounds' own"
    )
    assert empty == ""
    cells = [[cell for cell in line.split("  ") if cell.strip()] for line in lines[:5]]
    assert [[cell.strip() for cell in row] for row in cells] == [
        ["hosts", "subject", "start", "of Mininet", "range", "forwarding", "of Mininet", "stop",
         "of Mininet"],
        ["10", CAPACITY, "0.25 s", "-", "-", "0.50 s", "-", "0.12 s", "-"],
        ["100", MININET, "1.50 s", "1.00", "1.00..1.00", "3.00 s", "1.00", "0.75 s", "1.00"],
        ["100", CAPACITY, "0.60 s", "0.55", "0.50..0.60", "1.20 s", "0.55", "0.30 s", "0.55"],
        ["100", DELAY, "1.95 s", "1.20", "0.90..1.50", "3.90 s", "1.20", "0.97 s", "1.20"],
    ]  # fmt: skip
    assert lines[5:] == [
        f"{CAPACITY}: stood within stock Mininet's time in 100 hosts 2 of 2",
        f"{DELAY}: stood within stock Mininet's time in 100 hosts 1 of 2",
        f"{MININET_TC}: not measured: not installed: brctl",
    ]


@pytest.mark.parametrize(
    ("kind", "wires", "shaped", "delay_ns"),
    [
        (star.PlainStar, {"direct"}, 0, {0}),
        (star.CapacityStar, {"direct"}, 5, {0}),
        (star.DelayStar, {"relay"}, 5, {1_000_000}),
    ],
)
def test_every_subject_is_the_same_star(
    kind: type[star.PlainStar], wires: set[str], shaped: int, delay_ns: set[int]
) -> None:
    plan = make_plan(kind(n=5), Scenario(topology="star"), "relay")
    assert [node.name for node in plan.nodes] == ["s1", "h1", "h2", "h3", "h4", "h5"]
    assert [link.name for link in plan.links] == [f"h{number}-s1" for number in range(1, 6)]
    assert {link.wire for link in plan.links} == wires
    assert sum(link.reverse.capacity_bit_s == 100_000_000 for link in plan.links) == shaped
    assert {way.delay_ns for link in plan.links for way in (link.forward, link.reverse)} == delay_ns


@pytest.mark.parametrize(
    "words",
    [["--hosts", "1"], ["--hosts", "251"], ["--hosts", "x"], ["--rounds", "0"], ["--only", "ns-3"]],
)
def test_what_cannot_be_measured(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err
