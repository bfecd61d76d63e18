"""What observing took: measured for processes that only observe, estimated within the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.analysis.analyse import analyse
from testbed.analysis.observing import RECORD_NS
from testbed.recording.manifest import CpuShare, ProcessRecord
from tests.builders.recordings import MS, START, Run


def test_who_took_what(tmp_path: Path) -> None:
    layout = Run().write(
        tmp_path / "run",
        load_started_ns=START,
        load_ended_ns=START + 1000 * MS,
        processes=[
            ProcessRecord(name="server", kind="server", node="server"),
            ProcessRecord(name="sampler", kind="sampler", node=""),
            ProcessRecord(name="capture.a", kind="capture", node="a"),
            ProcessRecord(name="capture.b", kind="capture", node="b"),
        ],
        cpu_shares={
            "server": CpuShare(ran_ns=900 * MS, waited_ns=0),
            "sampler": CpuShare(ran_ns=50 * MS, waited_ns=700 * MS),
            "capture.a": CpuShare(ran_ns=20 * MS, waited_ns=0),
            "capture.b": CpuShare(ran_ns=3 * MS, waited_ns=0),
        },
    )
    summary = analyse(layout.root)
    found = {(one.probe, one.measured): one for one in summary.observing}
    assert found["samples", True].cpu_ns == 50 * MS
    assert found["samples", True].cpu_ratio == pytest.approx(0.05)
    assert found["captures", True].cpu_ns == 23 * MS
    assert found["asgi", False].cpu_ns == 23 * RECORD_NS["asgi"]
    assert [one.cpu_ns for one in summary.observing] == sorted(
        (one.cpu_ns for one in summary.observing), reverse=True
    )
    # An observer that waits for a CPU holds nobody up.
    assert next(r for r in summary.verdict.reasons if r.check == "CPU wait").value == 0


def test_a_load_that_never_ran_took_nothing(tmp_path: Path) -> None:
    layout = Run().write(tmp_path / "run", load_started_ns=None, load_ended_ns=None)
    assert analyse(layout.root).observing == []
