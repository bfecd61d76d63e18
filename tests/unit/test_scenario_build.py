"""Flat options: they are those of the model, and errors stand where they were typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.errors import ScenarioError
from testbed.scenario import Link, Load, Scenario, Way, notation
from testbed.scenario.build import build_scenario, option_names
from testbed.scenario.file import read_scenario


def problems(target: str | Path, options: dict[str, Any], spelling: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        build_scenario(target, options, spelling=spelling)
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(
        """
        topology = "dumbbell"
        app = "stream"
        seed = 7
        [topology_options]
        n = 3
        [load]
        users = 4
        requests = 100
        [link]
        capacity = "10mbit"
        loss = "1%"
        [links."r1-r2"]
        delay = "5ms"
        """
    )
    return path


def test_every_field_of_the_model_is_an_option() -> None:
    wanted = {name for kind in (Scenario, Load, Link) for name in kind.__struct_fields__}
    assert set(option_names()) == wanted - {"topology", "load", "link"}


def test_every_option_leads_to_its_field() -> None:
    scenario = Scenario(topology="dumbbell")
    for path in option_names().values():
        value: Any = scenario
        for part in path:
            value = getattr(value, part)


def test_options_of_python() -> None:
    scenario = build_scenario(
        "single_bottleneck",
        {"app": "mine:app", "loss": "2%", "seed": 7, "requests": 100, "delay": None},
    )
    assert scenario == Scenario(
        topology="single_bottleneck",
        app="mine:app",
        seed=7,
        load=Load(requests=100),
        link=Link(loss="2%"),
    )


def test_options_of_python_may_be_tables_and_structs() -> None:
    scenario = build_scenario(
        "dumbbell",
        {
            "topology_options": {"n": 3},
            "links": {"r1-r2": Link(loss="2%"), "r2-server1": {"delay": "1ms"}},
        },
    )
    assert scenario.topology_options == {"n": 3}
    assert scenario.links == {"r1-r2": Link(loss="2%"), "r2-server1": Link(delay="1ms")}


def test_words_of_a_command_line() -> None:
    scenario = build_scenario(
        "dumbbell",
        {"users": "4", "seed": "7", "loss": "2%", "path": "/5", "topology_options": ["n=3"]},
        spelling="command line",
    )
    assert scenario == Scenario(
        topology="dumbbell",
        topology_options={"n": 3},
        seed=7,
        load=Load(users=4, path="/5"),
        link=Link(loss="2%"),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("1.5", 1.5),
        ("true", True),
        ("false", False),
        ("red", "red"),
        ("a=b", "a=b"),
    ],
)
def test_a_value_of_a_topology_option(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "loose.py").write_text("class Loose(Topo):\n    def build(self, **options): ...\n")
    scenario = build_scenario(
        f"{tmp_path}/loose.py:Loose",
        {"topology_options": [f"value={text}"]},
        spelling="command line",
    )
    assert scenario.topology_options == {"value": value}
    assert type(scenario.topology_options["value"]) is type(value)


def test_all_that_is_wrong_on_a_command_line_is_told_at_once() -> None:
    found = problems(
        "single_bottlneck",
        {
            "loss": "5",
            "users": "four",
            "app": "helo",
            "link_backend": "netem",
            "seed": "-1",
            "topology_options": ["n=3", "x"],
        },
        "command line",
    )
    assert [line.partition(":")[0] for line in found] == [
        "TARGET",
        "--topology-option",
        "--loss",
        "--users",
        "--link-backend",
        "--seed",
        "--app",
    ]
    assert found[0] == (
        "TARGET: expected a topology's name, FILE.py:Class or FILE.toml "
        '(got "single_bottlneck"; did you mean "single_bottleneck"?)'
    )
    assert found[2] == '--loss: expected a percentage such as 1% (got "5": the % is missing)'
    assert found[3] == '--users: expected a whole number (got "four")'


def test_all_that_is_wrong_in_python_is_told_at_once() -> None:
    found = problems(
        "single_bottleneck",
        {
            "loss": 5,
            "users": 2.5,
            "los": "1%",
            "topology_options": {"n": 3},
            "links": {"a-b": {"x": 1}},
        },
        "python",
    )
    assert found == [
        'los=: unknown option; did you mean "loss"?',
        f"loss=: expected {notation.LOSS_FORM} (got 5, without a unit)",
        "users=: expected a whole number (got 2.5)",
        'links["a-b".x]: unknown key',
        'topology_options["n"]: unknown option of this topology; it has none',
    ]


@pytest.mark.parametrize("spelling", ["command line", "python"])
def test_a_target_that_is_none(spelling: Any) -> None:
    [line] = problems("", {}, spelling)
    assert line.startswith("TARGET: " if spelling == "command line" else "topology: ")


def test_options_win_over_the_file(file: Path) -> None:
    scenario = build_scenario(
        file, {"app": "hello", "loss": "2%", "users": 8, "links": {"r1-r2": {"loss": "3%"}}}
    )
    assert scenario == Scenario(
        topology="dumbbell",
        topology_options={"n": 3},
        app="hello",
        seed=7,
        load=Load(users=8, requests=100),
        link=Link(capacity="10mbit", loss="2%"),
        links={"r1-r2": Link(delay="5ms", loss="3%")},
    )


def test_an_option_that_may_be_repeated_and_is_not_given_wins_nothing(tmp_path: Path) -> None:
    # typer hands over an empty list for it.
    path = tmp_path / "changes.toml"
    path.write_text('topology = "dumbbell"\nlink.schedule = ["at 5s: loss 1%"]\n')
    nothing: list[str] | None
    for nothing in ([], None):
        scenario = build_scenario(path, {"schedule": nothing}, spelling="command line")
        assert scenario.link.schedule == ("at 5s: loss 1%",)


def test_settings_of_one_direction_may_be_given_one_by_one() -> None:
    options = {"forward": ["loss 1%", "delay 2ms"], "reverse": ["queue 20p"]}
    link = build_scenario("dumbbell", options, spelling="command line").link
    assert (link.forward, link.reverse) == (Way(loss="1%", delay="2ms"), Way(queue="20p"))
    with pytest.raises(ScenarioError, match="--forward"):
        build_scenario("dumbbell", {"forward": ["loss 1%", "loss 2%"]}, spelling="command line")


def test_topology_options_win_one_by_one(file: Path) -> None:
    scenario = build_scenario(file, {"topology_options": ["n=5"]}, spelling="command line")
    assert scenario.topology_options == {"n": 5}


def test_an_option_that_is_right_does_not_hide_a_problem_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('topology = "dumbbell"\nlink.loss = "5"\n')
    with pytest.raises(ScenarioError) as caught:
        build_scenario(path, {"loss": "1%"})
    assert caught.value.source == str(path)
    assert [problem.where for problem in caught.value.problems] == ["link.loss"]


def test_problems_of_file_and_options_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('topology = "dumbell"\nlink.loss = "5"\n')
    found = problems(path, {"delay": "1"}, "command line")
    assert [line.rpartition(": expected")[0] for line in found] == [
        f"{path}: link.loss",
        f"{path}: topology",
        "--delay",
    ]


@pytest.mark.parametrize("name", sorted(option_names()))
def test_an_option_that_is_not_given_changes_nothing(name: str) -> None:
    assert build_scenario("dumbbell", {name: None}) == Scenario(topology="dumbbell")


def test_a_file_alone_is_what_it_says(file: Path) -> None:
    assert build_scenario(file, {}) == read_scenario(file)
