"""Rule: the line at the top of a report says what makes a run degraded, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.analysis.analyse import analyse
from testbed.analysis.summary import Reason
from testbed.analysis.verdict import completeness, not_made
from testbed.recording.layout import create
from testbed.recording.manifest import write_manifest
from testbed.report.degraded import degraded
from tests.builders.summaries import manifest

NEAR = Reason(check="CPU wait", status="degraded", message="5 %")
GOOD = Reason(check="ledger", status="faithful", message="all 23 rows balance")
UNSEEN = not_made("captures", "nothing was captured")
[STOPPED] = completeness("interrupted", "", [])


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        ([NEAR, GOOD], "the emulation came near a bound"),
        ([GOOD, UNSEEN], "1 check could not be made"),
        ([UNSEEN] * 23, "23 checks could not be made"),
        ([STOPPED, GOOD], "the run was stopped before its end"),
        ([UNSEEN, NEAR], "the emulation came near a bound and 1 check could not be made"),
        (
            [STOPPED, NEAR, UNSEEN],
            "the run was stopped before its end, the emulation came near a bound and 1 check could "
            "not be made",
        ),
        ([], "no check was made"),
    ],
)
def test_what_is_the_case(reasons: list[Reason], text: str) -> None:
    assert degraded(reasons) == text


def test_a_folder_with_little_more_than_a_manifest_is_near_no_bound(tmp_path: Path) -> None:
    layout = create(tmp_path / "run")
    write_manifest(layout, manifest())
    verdict = analyse(layout.root).verdict
    assert verdict.status == "degraded"
    assert degraded(verdict.reasons).endswith(" could not be made")
    assert "near a bound" not in degraded(verdict.reasons)
