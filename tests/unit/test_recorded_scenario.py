"""Rule: a recording can be read when the files that its scenario named are gone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from testbed.errors import ScenarioError
from testbed.recording.layout import Layout
from testbed.recording.manifest import Manifest, read_manifest, write_manifest
from testbed.scenario import Link, Scenario
from testbed.scenario.file import as_toml
from testbed.scenario.model import Way


def test_a_manifest_names_files_that_are_gone(tmp_path: Path) -> None:
    table, trace = tmp_path / "mine.dist", tmp_path / "mine.trace"
    table.write_text("-1 0 1\n")
    trace.write_text("1\n")
    scenario = Scenario(
        topology="t",
        link=Link(
            delay_variation=f"2ms table {table}",
            schedule=(f"at 5s: delay_variation 1ms table {table}",),
            reverse=Way(capacity=f"trace {trace}"),
        ),
    )
    layout = Layout(tmp_path)
    written = Manifest(
        testbed_version="0",
        versions={},
        kernel="",
        cpus=1,
        started_utc="",
        scenario=scenario,
        seed=1,
        link_backend="relay",
    )
    write_manifest(layout, written)
    table.unlink()
    trace.unlink()

    found = read_manifest(layout)
    assert found == written
    assert f"trace {trace}" in as_toml(found.scenario)
    with pytest.raises(ScenarioError):  # to run it again, they must be there
        msgspec.json.decode(msgspec.json.encode(scenario), type=Scenario)
