"""Rule: a benchmark of the load refuses what measures nothing, and pairs rounds with rounds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.load.__main__ import main
from benchmarks.load.results import Results, Round, late_p99_ns, quantile, ratios, table
from benchmarks.load.turns import BARE, OBSERVED, OURS, Turn, bare, ours, server
from testbed.scenario import Load


def turn(subject: str, rate: float, late_ns: list[int] | None = None) -> Turn:
    return Turn(
        subject=subject,
        requests_per_s=rate,
        cpu_ns_per_request=400_000,
        cpu_ratio=0.5,
        late_ns=late_ns or [],
    )


def round_of(own: float, other: float, late_ns: int) -> Round:
    return Round(
        bare=turn(BARE, other),
        ours=turn(OURS, own),
        observed=turn(OBSERVED, own / 2),
        paced=turn(OURS, 500, [late_ns] * 100),
    )


ROUNDS = [round_of(200, 100, 1000), round_of(30, 10, 5_000_000), round_of(190, 100, 2000)]


@pytest.mark.parametrize("option", ["--rounds", "--users", "--requests"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "", "\u0663"])
def test_whole_numbers(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([f"{option}={value}"])
    assert caught.value.code == 2
    assert f'expected a whole number of at least 1 (got "{value}")' in capsys.readouterr().err


def test_ratios_are_of_the_same_round() -> None:
    """The second round was slow for both."""
    assert ratios(ROUNDS, OURS) == [2.0, 3.0, 1.9]
    assert ratios(ROUNDS, OBSERVED) == [1.0, 1.5, 0.95]
    assert late_p99_ns(ROUNDS) == 2000


def test_quantiles_are_values_that_occurred() -> None:
    assert [quantile([5, 1, 4, 2, 3], ratio) for ratio in (0.5, 0.99, 1)] == [3, 5, 5]
    assert quantile(list(range(1, 101)), 0.99) == 99


def test_the_table_says_what_holds() -> None:
    found = Results(
        date="2026-11-25", kernel="6.18", cpu="a CPU", cpu_count=2, python="3.11",
        load_average=0.1, users=4, requests=100, rounds=ROUNDS,
    )  # fmt: skip
    text = table(found)
    assert "rate at least 0.95 of bare: yes" in text
    assert "late by at most 2 ms at p99: yes" in text
    slow = msgspec.structs.replace(found, rounds=[round_of(94, 100, 2_000_001)])
    assert "rate at least 0.95 of bare: NO" in table(slow)
    assert "late by at most 2 ms at p99: NO" in table(slow)


def test_both_make_every_request(tmp_path: Path) -> None:
    with server() as url:
        one = bare(url, 2, 23)
        other = ours(url, Load(users=2, requests=23), tmp_path)
        paced = ours(url, Load(rate="500/s", requests=23), tmp_path, observed=True)
    assert one.subject == BARE
    assert min(turn.requests_per_s for turn in (one, other, paced)) > 0
    assert len(paced.late_ns) == 23
    assert other.late_ns == []
    assert (tmp_path / "syscall.seg").stat().st_size > 0
