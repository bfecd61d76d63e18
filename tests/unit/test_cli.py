"""The command line: exit codes, one clear message, complete help, nothing made on bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import typer

from testbed import __version__, cli
from testbed.analysis.summary import Expectation, Summary
from testbed.errors import (
    EXIT_DONE,
    EXIT_EXPECTATION_FAILED,
    EXIT_INVALID,
    EXIT_RUN_FAILED,
    EXIT_WRONG_REQUEST,
)
from testbed.scenario.catalogue import apps, servers, topologies, traces
from tests.builders.summaries import recording, summary
from tests.support.command_line import ROOT, call, process


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_version() -> None:
    result = call("--version")
    assert (result.exit_code, result.stdout) == (EXIT_DONE, f"testbed {__version__}\n")


def test_help_lists_every_command_and_exit_code() -> None:
    text = call("--help").stdout
    for name in ("run", "analyse", "report", "shell", "doctor", "list"):
        assert f" {name} " in text
    for number in range(6):
        assert f"{number} " in text.partition("Exit codes")[2]


@pytest.mark.parametrize("command", ["run", "analyse", "report", "shell"])
def test_a_command_without_its_argument(command: str) -> None:
    result = call(command)
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert "Missing argument" in result.stderr


@pytest.mark.parametrize("command", ["run", "shell"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["single_botleneck"], "TARGET: expected a topology's name, FILE.py:Class or FILE.toml"),
        (["nosuch.py:Ring"], "TARGET: cannot read nosuch.py: No such file or directory"),
        (["nosuch.toml"], "nosuch.toml: cannot read this scenario file"),
        (["single_bottleneck", "--loss", "5"], "--loss: expected a percentage such as 1%"),
        (["single_bottleneck", "--capacity", "10mbps"], "--capacity: expected a rate with a unit"),
        (["single_bottleneck", "--delay", "-1ms"], '--delay: must not be negative (got "-1ms")'),
        (["single_bottleneck", "--seed", "x"], '--seed: expected a whole number (got "x")'),
        (["single_bottleneck", "--link-backend", "netem"], '--link-backend: expected "auto"'),
        (["single_bottleneck", "--topology-option", "n=3"], "--topology-option n: unknown option"),
        (["single_bottleneck", "--topology-option", "n"], "expected NAME=VALUE"),
        (["single_bottleneck", "--loss", "100.1%"], "--loss: must lie between 0% and 100%"),
        (["single_bottleneck", "--loss", "nan%"], "--loss: expected a percentage such as 1%"),
        (["single_bottleneck", "--capacity", "trace nosuch"], "--capacity: expected a trace's"),
        (["single_bottleneck", "--queue", "cdel 5p"], 'did you mean "codel"?'),
        (["single_bottleneck", "--outage", "2s"], "--outage: expected at TIME for TIME"),
        (["single_bottleneck", "--schedule", "5s"], "--schedule: expected at TIME: SETTING VALUE"),
        (
            ["single_bottleneck", "--schedule", "at 5s: loss 1%", "--schedule", "at 4s: loss 2%"],
            '--schedule: expected changes in the order of their times (got "at 4s: loss 2%")',
        ),
        (["single_bottleneck", "--forward", "loss x"], "--forward loss: expected a percentage"),
        (["single_bottleneck", "--reverse", "los 1%"], "--reverse: expected SETTING VALUE"),
        (["single_bottleneck", "--links", "r1-server"], "--links: expected LINK: SETTING VALUE"),
        (
            ["single_bottleneck", "--links", "r1-server.forward: loss 101%"],
            "--links r1-server.forward.loss: must lie between 0% and 100%",
        ),
        (
            ["single_bottleneck", "--links", "a-b: loss 1%", "--links", "a-b: loss 2%"],
            "--links a-b: expected each setting once (got loss twice)",
        ),
    ],
)
def test_a_wrong_request_gets_one_message_and_makes_nothing(
    command: str, words: list[str], said: str, empty_folder: Path
) -> None:
    result = call(command, *words)
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert result.stdout == ""
    assert result.stderr.startswith("testbed: error: ")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "shell"])
def test_a_value_that_the_topology_refuses_is_said_at_the_option(
    command: str, empty_folder: Path
) -> None:
    words = ["dumbbell", "--link-backend", "kernel", "--topology-option", "n=0"]
    result = call(command, *words)
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert result.stderr.startswith(
        "testbed: error: --topology-option n: dumbbell raised ValueError: n must lie in 1..250 "
        "(got 0) (dumbbell.py:"
    )
    assert list(empty_folder.iterdir()) == []


def test_an_expectation_of_no_figure_is_refused_before_the_run(empty_folder: Path) -> None:
    words = ["dumbbell", "--link-backend", "kernel", "--expect", "http.faild == 0"]
    result = call("run", *words, "--expect", "links.r1-r3.forward.lost_packets == 0")
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert '--expect: no such figure: http has no "faild"; did you mean "failed"?' in result.stderr
    assert '--expect: no such figure: links has no "r1-r3"; did you mean "r1-r2"?' in result.stderr
    assert list(empty_folder.iterdir()) == []


def test_one_that_a_file_gives_is_said_at_its_place_there(empty_folder: Path) -> None:
    text = 'topology = "dumbbell"\nlink_backend = "kernel"\n[topology_options]\nn = 0\n'
    (empty_folder / "mine.toml").write_text(text)
    result = call("run", "mine.toml")
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert result.stderr.startswith("testbed: error: topology_options.n: dumbbell raised")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--read-rate", "100"], "--read-rate: expected a rate with a unit"),
        (["--read-rate", "0kbit"], '--read-rate: must be greater than 0 (got "0kbit")'),
        (["--write-rate", "1mbps"], "--write-rate: expected a rate with a unit"),
        (["--write-rate", "-1kbit"], '--write-rate: must not be negative (got "-1kbit")'),
        (["--backlog", "eight"], '--backlog: expected a whole number (got "eight")'),
        (["--backlog", "0"], "--backlog: must lie in 1..4096 (got 0)"),
        (["--http", "3"], '--http: expected "1.1" or "2" (got "3"'),
        (["--http", ""], '--http: expected "1.1" or "2" (got ""'),
        (["--backlog", "4097"], "--backlog: must lie in 1..4096 (got 4097)"),
    ],
)
def test_a_wrong_load_or_server_is_refused(words: list[str], said: str, empty_folder: Path) -> None:
    result = call("run", "single_bottleneck", *words)
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert said in result.stderr
    assert list(empty_folder.iterdir()) == []


def test_all_that_is_wrong_is_told_at_once() -> None:
    result = call("run", "x", "--loss", "5", "--users", "four", "--app", "helo", "--probes", "no")
    assert result.stderr.startswith("testbed: error: 5 problems\n")
    places = {line.split(":")[0].strip() for line in result.stderr.splitlines()[1:]}
    assert places == {"TARGET", "--loss", "--users", "--probes", "--app"}


def test_a_wrong_file_is_named_with_every_problem(empty_folder: Path) -> None:
    path = empty_folder / "bad.toml"
    path.write_text('topology = "dumbbell"\n[link]\nloss = "5"\ndelay = 3\n')
    result = call("run", str(path))
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert result.stderr.startswith(f"testbed: error: {path}: 2 problems\n  link.loss: ")
    assert [one.name for one in empty_folder.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize("command", ["analyse", "report", "journey"])
def test_a_folder_that_does_not_exist(command: str) -> None:
    result = call(command, "runs/nix")
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert result.stderr == "testbed: error: there is no folder runs/nix\n"


@pytest.mark.parametrize("command", ["analyse", "report"])
def test_a_folder_that_is_no_recording(command: str, empty_folder: Path) -> None:
    result = call(command, str(empty_folder))
    assert result.exit_code == EXIT_WRONG_REQUEST
    assert result.stderr == (
        f"testbed: error: {empty_folder} is no recording: "
        "expected a folder with manifest.json in it\n"
    )


def test_report_shows_and_writes(tmp_path: Path) -> None:
    layout = recording(tmp_path / "run", seen=summary("degraded"))
    result = call("report", str(layout.root))
    assert result.exit_code == EXIT_DONE
    assert " DEGRADED " in result.stdout
    assert layout.report.is_file()


def test_report_of_an_invalid_run_is_done_all_the_same(tmp_path: Path) -> None:
    layout = recording(tmp_path / "run", seen=summary("invalid"))
    assert call("report", str(layout.root)).exit_code == EXIT_DONE


def test_report_as_json_is_the_summary_and_nothing_else(tmp_path: Path) -> None:
    layout = recording(tmp_path / "run")
    result = call("report", str(layout.root), "--json")
    assert result.stdout == layout.summary.read_text()
    assert msgspec.json.decode(result.stdout, type=Summary) == summary()


HELD = Expectation(expect="http.failed == 0", holds=True)
MISSED = Expectation(expect="http.failed == 0", holds=False, value=3)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (summary(), EXIT_DONE),
        (summary("degraded"), EXIT_DONE),
        (summary("invalid"), EXIT_INVALID),
        (summary(expectations=[HELD]), EXIT_DONE),
        (summary(expectations=[HELD, MISSED]), EXIT_EXPECTATION_FAILED),
        (summary("invalid", expectations=[MISSED]), EXIT_INVALID),
    ],
    ids=["faithful", "degraded", "invalid", "held", "missed", "invalid and missed"],
)
def test_the_exit_code_of_a_run(seen: Summary, code: int) -> None:
    assert cli.exit_code(seen) == code


def test_list() -> None:
    result = call("list")
    assert result.exit_code == EXIT_DONE
    for name in (
        "dumbbell",
        "single_bottleneck",
        "hello",
        "stream",
        "upload",
        "blocking",
        "cpu",
        "hypercorn",
        "steady_12mbit",
    ):
        assert name in result.stdout


def test_list_as_json() -> None:
    found = json.loads(call("list", "--json").stdout)
    assert found == {
        kind: json.loads(msgspec.json.encode(entries))
        for kind, entries in (
            ("topologies", topologies()),
            ("apps", apps()),
            ("servers", servers()),
            ("traces", traces()),
        )
    }
    assert all(entry["summary"] for kind in found.values() for entry in kind)


def test_doctor_as_json() -> None:
    result = call("doctor", "--json")
    found = {ability["name"]: ability for ability in json.loads(result.stdout)}
    assert found["python"]["ok"] is True
    lacking = any(not one["ok"] and one["required"] for one in found.values())
    assert result.exit_code == (3 if lacking else EXIT_DONE)


def test_doctor_names_every_ability() -> None:
    text = call("doctor").stdout
    for ability in json.loads(call("doctor", "--json").stdout):
        assert ability["name"] in text


def test_a_fault_of_the_testbed_itself_keeps_its_traceback() -> None:
    result = process(
        "list",
        code="import testbed.scenario.catalogue as catalogue\n"
        "def fault(): raise ZeroDivisionError('oops')\n"
        "catalogue.topologies = fault",
    )
    assert result.returncode == EXIT_RUN_FAILED
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError: oops" in result.stderr


def test_a_message_cannot_write_to_the_terminal() -> None:
    result = call("run", "\x1b[2Jx")
    assert "\x1b" not in result.stderr


def test_a_terminal_that_lacks_a_sign_shows_another(tmp_path: Path) -> None:
    layout = recording(tmp_path / "run")
    program = "from testbed.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "report", str(layout.root)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        timeout=60,
        check=False,
    )
    assert result.returncode == EXIT_DONE, result.stderr
    assert result.stdout.isascii()


def test_the_command_line_alone_imports_nothing_slow() -> None:
    result = process(
        "--version",
        code="import atexit, sys\natexit.register(lambda: print(*sorted(sys.modules), sep='\\n'))",
    )
    loaded = {name.partition(".")[0] for name in result.stdout.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"polars", "numpy", "rich", "mininet", "trio", "httpx", "jinja2", "plotly"}


def test_every_command_is_documented() -> None:
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert command.help, name
