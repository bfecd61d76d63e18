"""Rule: a file that a setting names is relative to the scenario file, as a topology is."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.errors import ScenarioError
from testbed.scenario.file import as_toml, read_scenario
from testbed.scenario.model import Way


def write(folder: Path, text: str) -> Path:
    path = folder / "scenario.toml"
    path.write_text(text)
    return path


def test_a_file_of_a_setting_is_relative_to_the_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my, scenarios"
    (folder / "files").mkdir(parents=True)
    (folder / "a b.trace").write_text("1\n")
    (folder / "files" / "mine.dist").write_text("-1 0 1\n")
    monkeypatch.chdir("/")
    path = write(
        folder,
        """
        topology = "dumbbell"
        link.capacity = 'trace "a b.trace"'
        link.delay_variation = "2ms table files/mine.dist overtaking"
        link.schedule = ["at 5s: delay_variation 1ms table files/mine.dist"]
        links."r1-r2".forward = "capacity trace steady_12mbit, loss 1%"
        """,
    )
    scenario = read_scenario(path)
    assert scenario.link.capacity == f'trace "{folder}/a b.trace"'
    table = f'table "{folder}/files/mine.dist"'
    assert scenario.link.delay_variation == f"2ms {table} overtaking"
    assert scenario.link.schedule == (f"at 5s: delay_variation 1ms {table}",)
    assert scenario.links["r1-r2"].forward == Way(capacity="trace steady_12mbit", loss="1%")
    again = write(tmp_path, as_toml(scenario))
    assert read_scenario(again) == scenario


def test_a_file_of_a_setting_that_is_not_there_is_named_where_it_was_looked_for(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path, 'topology = "dumbbell"\nlink.delay_variation = "2ms table files/no.dist"'
    )
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    (problem,) = caught.value.problems
    assert problem.where == "link.delay_variation"
    assert f'(got "{tmp_path}/files/no.dist", which is none)' in problem.message


def test_a_home_folder_and_the_name_of_a_trace_stand_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.trace").write_text("1\n")
    path = write(
        tmp_path,
        """
        topology = "dumbbell"
        link.forward.capacity = "trace ~/mine.trace"
        link.reverse.capacity = "trace wifi_bursts"
        """,
    )
    link = read_scenario(path).link
    assert link.forward.capacity == "trace ~/mine.trace"
    assert link.reverse.capacity == "trace wifi_bursts"
