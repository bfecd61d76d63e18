"""Rule: what could measure nothing is refused before anything is built, with what was expected."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import msgspec
import pytest

from benchmarks import command
from benchmarks.probes.__main__ import main as probes_main
from benchmarks.relay.__main__ import main
from benchmarks.servers.__main__ import main as servers_main
from testbed.errors import MachineError, RunError


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


@pytest.mark.parametrize("value", ["1", "251", "x", ""])
def test_a_whole_number_within_bounds(value: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        command.whole_within(2, 250)(value)
    assert str(caught.value) == f'expected a whole number of 2 to 250 (got "{value}")'
    assert command.whole_within(2, 250)("250") == 250


class Figures(msgspec.Struct):
    rounds: int


def shown(found: Figures) -> None:
    print(f"{found.rounds} rounds")


@pytest.mark.parametrize(
    ("as_json", "text"), [(True, '{\n  "rounds": 7\n}\n'), (False, "7 rounds\n")]
)
def test_results_go_to_standard_output(
    *, as_json: bool, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run("x", lambda: Figures(7), shown, as_json=as_json) == 0
    assert tuple(capsys.readouterr()) == (text, "")


def raising(error: BaseException) -> Callable[[], Figures]:
    def measure() -> Figures:
        raise error

    return measure


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MachineError("no iperf3"), 3, "benchmarks.x: error: no iperf3\n"),
        (RunError("it fell", where="r1"), 4, "benchmarks.x: error: r1: it fell\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_could_not_be_measured_has_one_line_and_an_exit_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run("x", raising(error), shown, as_json=True) == code
    assert tuple(capsys.readouterr()) == ("", said)
