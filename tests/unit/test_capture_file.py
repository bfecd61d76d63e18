"""Rule: a capture is up to date when every marker is in its file, wherever the file was cut while
it was read along; one that has no file yet is not, and that is no fault.
"""

from __future__ import annotations

from pathlib import Path

from testbed.probes.link import CaptureFile, marker_signature

MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02"]


def test_every_marker_must_have_come_however_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "r1.pcapng.partial"
    first, second = map(marker_signature, MACS)
    path.write_bytes(b"\0" * 200 + first + b"\0" * 100 + second[:5])
    capture = CaptureFile(path, MACS)
    assert not capture.is_up_to_date()
    with path.open("ab") as file:
        file.write(second[5:])
    assert capture.is_up_to_date()


def test_a_capture_that_has_begun_no_file_is_not_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "r1.pcapng.partial"
    capture = CaptureFile(path, MACS[:1])
    assert not capture.is_up_to_date()
    path.write_bytes(marker_signature(MACS[0]))
    assert capture.is_up_to_date()
