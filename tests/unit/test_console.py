"""What commands print: no blanks at the ends of lines, and commands that a shell takes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from testbed.report.console import command_text, make_console
from testbed.report.text import print_report
from tests.builders.summaries import manifest, summary


def padded() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("layer", Text("a cell", style="bold"))
    table.add_row("", "")
    table.add_row("tcp", Text("a longer cell", style="red"))
    return table


def test_lines_end_without_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console()
    console.print(padded())
    console.print()
    console.print("a word", Text("  "))
    assert capsys.readouterr().out == "layer  a cell\n\ntcp    a longer cell\n\na word\n"


def test_colours_stay_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    make_console().print(padded())
    assert "\x1b[31ma longer cell\x1b[0m\n" in capsys.readouterr().out


@pytest.mark.parametrize("width", ["80", "140"])
def test_a_report_has_none_either(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    print_report(make_console(), summary("invalid"), manifest(), Path("/tmp/one"))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip(" ")] == []
    assert max(map(len, lines)) <= int(width)


COMMAND = ["./tb", "run", "x.py:Topo", "--loss", "gilbert-elliott p 1% r 25%", "--path", "/a'b c"]


@pytest.mark.parametrize("width", [30, 40, 66, 120])
def test_a_long_command_is_one_for_a_shell(width: int) -> None:
    text = command_text(COMMAND, width)
    assert max(map(len, text.splitlines())) <= max(width, len(shlex.quote(COMMAND[4])) + 2)
    indented = text.replace("\n", "\n                ")
    # POSIX, 2.2.1: a backslash before a newline continues the line; shlex keeps that newline.
    assert shlex.split(indented.replace("\\\n", "")) == COMMAND


def test_a_short_command_has_one_line() -> None:
    assert command_text(COMMAND[:3], 80) == "./tb run x.py:Topo"
