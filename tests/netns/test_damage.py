"""Rule: whatever happens to a recording's files, a command has results or one message about it.

A small real recording is damaged: files cut, emptied, removed, swapped, replaced by foreign ones,
bits flipped. `testbed analyse`, `report` and `journey` then end with results, or with one message
that names the file (or the folder), never with a traceback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed import Link, Load, Scenario, run
from tests.support.damage import Damage, check, copied, damages, files_of, harm

RAW: Final = ("segments", "packets", "manifest.json")
"""What a run leaves."""
MADE: Final = ("events", "links", "summary.json", "manifest.json")
"""What the analysis makes of it, and what is read with it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenario = Scenario(
        topology="single_bottleneck",
        link=Link(loss="2%"),
        load=Load(users=2, requests=7),
        link_backend="relay",
        probes="all",
        seed=3,
    )
    return run(scenario, tmp_path_factory.mktemp("whole") / "run").root


@settings(max_examples=60)
@given(data=st.data())
def test_what_a_run_left(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damage: Damage = data.draw(damages(files_of(whole, RAW)))
    with copied(whole, tmp_path_factory.mktemp("raw") / "run") as root:
        harm(root, damage)
        if check(root, "analyse", damage) is None:
            check(root, "report", damage)
            check(root, "journey", damage)


@settings(max_examples=60)
@given(data=st.data())
def test_what_the_analysis_made(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damage: Damage = data.draw(damages(files_of(whole, MADE)))
    with copied(whole, tmp_path_factory.mktemp("made") / "run") as root:
        harm(root, damage)
        check(root, "report", damage)
        check(root, "journey", damage)
