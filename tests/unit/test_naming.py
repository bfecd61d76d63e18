"""The default folder of a recording: says when and what, and is never shared."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from testbed.errors import EXIT_WRONG_REQUEST, RecordingError
from testbed.recording.layout import create
from testbed.recording.naming import claim_folder, stem

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("topology", "wanted"),
    [
        ("single_bottleneck", "single_bottleneck"),
        ("ring.py:Ring", "Ring"),
        ("/somewhere/else/ring.py:Ring", "Ring"),
        ("a/b c.py", "b_c.py"),
        ("../..", "run"),
        ("", "run"),
        ("x" * 300, "x" * 40),
    ],
)
def test_what_of_a_topology_goes_into_the_name(topology: str, wanted: str) -> None:
    assert stem(topology) == wanted


def test_the_name_says_when_and_what(tmp_path: Path) -> None:
    root = claim_folder("single_bottleneck", NOW, tmp_path / "runs")
    assert root == tmp_path / "runs" / "20261122T153000Z-single_bottleneck"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_the_time_is_utc(tmp_path: Path) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert claim_folder("x", there, tmp_path).name == "20261122T153000Z-x"


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    names = [claim_folder("x", NOW, tmp_path).name for _ in range(3)]
    assert names == ["20261122T153000Z-x", "20261122T153000Z-x-2", "20261122T153000Z-x-3"]


def test_a_claimed_folder_can_be_made_a_recording(tmp_path: Path) -> None:
    create(claim_folder("x", NOW, tmp_path))


def test_a_place_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RecordingError, match="--out DIR") as caught:
        claim_folder("x", NOW, tmp_path / "runs")
    assert caught.value.exit_code == EXIT_WRONG_REQUEST
