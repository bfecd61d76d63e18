"""Rule: whatever lies where a calibration should, reading it gives one that counts, or says why."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.calibration import store
from testbed.calibration.ability import calibrated
from testbed.errors import MachineError
from tests.builders.calibrations import calibration


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "asgi-testbed" / "calibration.json"


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_what_is_written_is_read(target: Path) -> None:
    assert store.writable_path() == target
    assert not target.parent.exists()
    store.write(calibration(), target)
    assert store.read() == store.Stored(calibration())
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700
    assert names_in(target.parent) == [target.name]


def test_the_last_one_counts(target: Path) -> None:
    store.write(calibration(quick=True), target)
    store.write(calibration(quick=False), target)
    assert store.read() == store.Stored(calibration(quick=False))
    assert names_in(target.parent) == [target.name]


def test_there_is_none_yet(target: Path) -> None:
    assert store.read() == store.Stored(None, "there is none yet")
    assert not target.parent.exists()


def test_state_lies_below_home_unless_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = tmp_path / ".local" / "state" / "asgi-testbed" / "calibration.json"
    for value in ("", "relative/state"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert store.path() == expected
    monkeypatch.delenv("XDG_STATE_HOME")
    assert store.path() == expected


OTHERS = [
    ("kernel", "1.2.3-other", "kernel 1.2.3-other; this is "),
    ("cpus", 999, "999 CPUs; here are "),
    ("cpu_model", "Z80", 'CPU "Z80"; this is "'),
]


@pytest.mark.parametrize(("field", "value", "said"), OTHERS, ids=[case[0] for case in OTHERS])
def test_one_of_another_machine_does_not_count(
    field: str, value: Any, said: str, target: Path
) -> None:
    other = msgspec.structs.replace(store.this_machine(), **{field: value})
    store.write(calibration(machine=other), target)
    found = store.read()
    assert found.calibration is None
    assert not found.damaged
    assert said in found.reason


def test_one_of_another_kind_of_user_does_not_count(target: Path) -> None:
    here = store.this_machine()
    store.write(calibration(), target)
    other = msgspec.structs.replace(here, user="ordinary" if here.user == "root" else "root")
    found = store.read(machine=other)
    assert found.calibration is None
    assert "root" in found.reason
    assert "an ordinary user" in found.reason


def test_one_of_another_version_of_the_testbed_counts(target: Path) -> None:
    store.write(calibration(testbed_version="0.0.9"), target)
    assert store.read().calibration is not None


DAMAGED = {
    "empty": b"",
    "cut": b'{"format": 1, "mach',
    "no object": b"[1, 2]",
    "no text": b"\xff\xfe\x00",
    "a field of another type": b'{"format": 1, "machine": 3}',
    "fields that lack": b'{"format": 1}',
    "an unknown backend": msgspec.json.encode(calibration()).replace(b'"relay"', b'"pigeon"'),
    "deep": b'{"format":' + b"[" * 100_000,
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_one_is_named_and_never_a_traceback(data: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(data)
    found = store.read()
    assert found.calibration is None
    assert found.damaged
    assert found.reason.startswith(f"{target} is damaged: ")
    assert not calibrated().ok
    store.write(calibration(), target)
    assert store.read().calibration is not None


def test_a_folder_in_its_place(target: Path) -> None:
    target.mkdir(parents=True)
    found = store.read()
    assert (found.calibration, found.damaged) == (None, True)
    assert found.reason == f"{target} cannot be read: Is a directory"
    with pytest.raises(MachineError, match="cannot store a calibration"):
        store.write(calibration(), target)
    assert names_in(target.parent) == [target.name]


@pytest.mark.parametrize("value", ["2", '"1"', "null"])
def test_one_of_a_later_format(value: str, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_text(f'{{"format": {value}}}')
    found = store.read()
    assert found.calibration is None
    assert found.reason.endswith("; this version reads 1")


def test_where_nothing_can_be_stored_that_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(MachineError, match="Not a directory; XDG_STATE_HOME says where else"):
        store.writable_path()


def test_the_doctor_mentions_it_and_requires_it_not(target: Path) -> None:
    before = calibrated()
    assert (before.ok, before.required) == (False, False)
    assert (before.detail, before.remedy) == ("there is none yet", "testbed calibrate")
    store.write(calibration(), target)
    after = calibrated()
    assert (after.ok, after.remedy) == (True, "")
    assert after.detail == "2026-11-25: relay up to 100 Mbit/s"
