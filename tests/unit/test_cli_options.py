"""The options of the command line: complete help, examples and defaults in it that are true."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from testbed import cli
from testbed.errors import EXIT_WRONG_REQUEST
from testbed.scenario import Link, Load, Scenario
from testbed.scenario.build import build_scenario, option_names
from tests.support.command_line import call

EXAMPLES = [
    "--capacity", "--queue", "--delay-variation", "--loss", "--duplicate", "--corrupt", "--reorder",
    "--outage", "--schedule", "--forward", "--links",
]  # fmt: skip
"""Options whose help shows how they are written."""


@pytest.fixture(autouse=True)
def wide_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def test_run_takes_every_option_of_the_model() -> None:
    parameters = inspect.signature(cli.run).parameters
    own = {"context", "target", "out", "as_json"}
    assert set(parameters) - own == set(option_names())


@pytest.mark.parametrize("name", sorted(option_names()))
def test_help_names_every_option(name: str) -> None:
    option = "--topology-option" if name == "topology_options" else f"--{name.replace('_', '-')}"
    assert f" {option} " in call("run", "--help").stdout


@pytest.mark.parametrize("command", [[], ["run"], ["shell"], ["list"], ["doctor"]], ids=str)
def test_help_fits_a_terminal_of_80_columns(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call(*command, "--help").stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    # Text that does not fit is wrapped: a line of one or two words alone would show it.
    prose = [line.strip() for line in lines if line.startswith(" ") and line.strip()]
    assert [line for line in prose if len(line.split()) < 3] == []


@pytest.mark.parametrize("command", ["run", "shell"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_what_the_help_shows_can_be_typed(command: str, name: str) -> None:
    """Every example in quotes in the help of an option."""
    group: Any = typer.main.get_command(cli.app)
    option = next(o for o in group.commands[command].params if name in o.opts)
    examples = [text for text in re.findall(r"'([^']+)'", option.help) if not text.isupper()]
    examples = [text for text in examples if "NAME" not in text and "FILE" not in text]
    assert examples or name == "--capacity"
    for text in examples:
        key = name[2:].replace("-", "_")
        value = [text] if option.multiple else text
        build_scenario("single_bottleneck", {key: value}, spelling="command line")


def test_the_defaults_in_the_help_are_those_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    lines = call("run", "--help").stdout.splitlines()
    defaults: dict[str, object] = {"requests": 100}
    for kind in (Scenario, Load, Link):
        for field in msgspec.structs.fields(kind):
            # A flag that is not given is off: nothing to say.
            if isinstance(field.default, str | int) and not isinstance(field.default, bool):
                defaults[field.name] = field.default
    said = {
        name: line.partition("(default: ")[2].partition(")")[0]
        for line in lines
        if "(default: " in line
        for name in [line.split("--")[1].split()[0].replace("-", "_")]
    }
    assert {name: said.get(name) for name in defaults} == {
        name: str(value) for name, value in defaults.items()
    }
    assert set(said) - set(defaults) == {"seed", "out"}


def test_an_option_that_does_not_exist() -> None:
    result = call("run", "single_bottleneck", "--los", "2%")
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert "No such option: --los" in result.stderr
    assert "--loss" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--loss", "1%", "--loss", "2%"], "--loss is given twice; it has one value"),
        (["--seed=1", "--users", "3", "--seed=1", "--seed=1"], "--seed is given 3 times"),
    ],
)
def test_an_option_with_one_value_is_given_once(words: list[str], said: str) -> None:
    ended = call("run", "single_bottleneck", *words)
    assert ended.exit_code == EXIT_WRONG_REQUEST
    assert said in ended.stderr


def test_an_option_that_may_be_repeated_may_be() -> None:
    ended = call("run", "dumbbell", "--mix", "3 GET /", "--mix", "1 GET x", "--tls", "--tls")
    assert ended.exit_code == EXIT_WRONG_REQUEST
    assert ended.stderr.count("--") == 1
    assert "--mix: expected WEIGHT METHOD PATH" in ended.stderr
