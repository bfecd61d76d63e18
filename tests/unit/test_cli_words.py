"""Rule: what is nearly right is answered with what it was to be, in lines that can be read."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.cli_words import near, wrapped
from testbed.errors import EXIT_WRONG_REQUEST
from testbed.scenario.app_names import app_hint
from tests.support.command_line import ROOT, call

APP = "app = 23\n"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with modules of an application."""
    folder = tmp_path / "here"
    (folder / "pack").mkdir(parents=True)
    for name in ("shop.py", "pack/__init__.py", "pack/main.py"):
        (folder / name).write_text(APP)
    (folder / "factory.py").write_text("def application(scope): ...\n")
    (folder / "other.py").write_text("api = 23\n")
    (folder / "wrong.py").write_text("def (\n")
    (folder / "no-name.py").write_text(APP)
    return folder


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("shop", "shop:app"),
        ("shop.py", "shop:app"),
        ("./shop.py:api", "shop:api"),
        ("pack", "pack:app"),
        ("pack/main.py:app", "pack.main:app"),
        ("pack/main", "pack.main:app"),
        ("factory", "factory:application"),
        ("other", "other:ATTRIBUTE"),
        ("wrong", "wrong:ATTRIBUTE"),
    ],
)
def test_a_file_of_this_folder(here: Path, name: str, meant: str) -> None:
    assert app_hint(name, here) == f'; did you mean "{meant}"?'


def test_a_file_of_another_folder_says_where_to_go(here: Path, tmp_path: Path) -> None:
    said = f'; in {here} give "shop:app"'
    assert app_hint(str(here / "shop.py:app"), here) == '; did you mean "shop:app"?'
    assert app_hint(str(here / "shop.py:app"), tmp_path) == said
    assert app_hint("../shop.py", here / "pack") == said


@pytest.mark.parametrize(
    "name", ["", ":", "nothing", "shop:", "no-name.py", "/", "..", "a\0b", "x" * 5000]
)
def test_no_hint_where_nothing_is_near(here: Path, name: str) -> None:
    assert app_hint(name, here / "pack") == ""


@pytest.mark.parametrize("name", ["shop", "shop.py", "shop.py:app"])
def test_the_message_has_the_hint(here: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)
    result = call("run", "single_bottleneck", "--app", name)
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert 'did you mean "shop:app"?' in result.stderr


def test_the_message_says_the_form_beside_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("run", "single_bottleneck", "--app", "nothing").stderr.startswith(
        "testbed: error: --app: expected an application's name or module:attribute, imported from "
        'the folder you are in (got "nothing"; there are blocking, broken, '
    )


def test_a_wrong_environment_is_said_at_its_option() -> None:
    result = call("run", "single_bottleneck", "--app-environment", "/nope")
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert result.stderr.startswith("testbed: error: --app-environment: expected the folder of a")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nonsense", "; there are run, analyse, report, journey, shell, doctor, calibrate, list"),
        ("analyze", '; did you mean "analyse"?'),
    ],
)
def test_a_command_that_does_not_exist(
    word: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = call(word)
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert f'No such command "{word}"{said}' in result.stderr


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("--los", ["--loss"]),
        ("--request", ["--requests"]),
        ("--read", ["--read-rate", "--read-timeout"]),
        ("--retry", ["--retries"]),
        ("--zzz", []),
        ("--", []),
    ],
)
def test_only_near_options_are_suggested(typed: str, suggested: list[str]) -> None:
    known = ["--loss", "--nodes", "--tls", "--requests", "--read-rate", "--read-timeout"]
    assert near(typed, [*known, "--retries", "--rate"]) == suggested


def test_an_option_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = call("run", "single_bottleneck", "--los", "1%")
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert "No such option: --los (Possible options: --loss)" in result.stderr


def test_lines_break_between_words_and_keep_their_indent() -> None:
    text = "testbed: error: 2 problems\n  --app: one two three four\n\n" + "x" * 30
    assert wrapped(text, 20).split("\n") == [
        "testbed: error: 2",
        "problems",
        "  --app: one two",
        "  three four",
        "",
        "x" * 30,
    ]


def test_a_terminal_gets_whole_words_and_a_pipe_whole_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "testbed.cli", "report", f"{tmp_path}/{'some words ' * 20}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    piped = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert len(piped.stderr.splitlines()) == 1
    reader, terminal = pty.openpty()
    try:
        subprocess.run(command, stderr=terminal, env=environment, check=False)
        shown = os.read(reader, 10_000).decode().splitlines()
    finally:
        os.close(terminal)
        os.close(reader)
    assert len(shown) > 2
    assert max(map(len, shown)) <= 80 or " " not in max(shown, key=len)
    assert " ".join(" ".join(shown).split()) == " ".join(piped.stderr.split())
