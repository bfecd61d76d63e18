"""Rule: what could measure nothing is refused before anything is built, with what was expected."""

from __future__ import annotations

import pytest

from benchmarks.probes.__main__ import main as probes_main
from benchmarks.relay.__main__ import main
from benchmarks.servers.__main__ import main as servers_main


@pytest.mark.parametrize("option", ["--rounds", "--tcp"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "", "\u0663"])
def test_whole_numbers(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([f"{option}={value}"])
    assert caught.value.code == 2
    wanted = f'argument {option}: expected a whole number of at least 1 (got "{value}")'
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--flood", "--probe"])
@pytest.mark.parametrize("value", ["0", "-0.5", "nan", "inf", "x", ""])
def test_seconds(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([f"{option}={value}"])
    assert caught.value.code == 2
    wanted = f'argument {option}: expected seconds greater than 0 (got "{value}")'
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--rounds", "0"], ["--requests", "-1"], ["--only", "everything"], ["--rounds", "x"]]
)
def test_what_probes_cannot_be_measured_with(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        probes_main(words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--users", "0"], ["--users", "x"], ["--only", "gunicorn"]])
def test_what_servers_cannot_be_measured_with(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        servers_main(words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err
