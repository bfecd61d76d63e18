"""Rule: a file of another program's format is read, or refused with its line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import QuantityError
from testbed.scenario import tables
from testbed.scenario.tables import describe_trace, read_distribution, read_trace

READERS = [
    pytest.param(read_trace, id="trace"),
    pytest.param(read_distribution, id="distribution"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def refusal(read: Callable[[str], Any], file: Path | str) -> str:
    with pytest.raises(QuantityError) as caught:
        read(str(file))
    return str(caught.value)


def test_a_trace_in_mahimahis_format(file: Path) -> None:
    file.write_text("0\n5\n5\n\n# a comment\n 12 \r\n")
    assert read_trace(str(file)) == (0, 5, 5, 12)
    found = describe_trace(str(file))
    assert (found.opportunities, found.period_ms, len(found.sha256)) == (4, 12, 64)


def test_a_distribution_in_iproute2s_format(file: Path) -> None:
    file.write_text("# made by hand\n -32768 -1\t0\n\n+5 32767\n")
    assert read_distribution(str(file)) == (-32768, -1, 0, 5, 32767)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected at least one time after 0 ms (got none)"),
        ("# only this\n", "expected at least one time after 0 ms (got none)"),
        ("0\n0\n", "expected at least one time after 0 ms (got none)"),
        ("5\n4\n", "file:2: expected times that do not go back (got 4 after 5)"),
        ("-5\n", 'file:1: expected a time in whole milliseconds (got "-5")'),
        ("1.5\n", 'file:1: expected a time in whole milliseconds (got "1.5")'),
        ("1 2\n", 'file:1: expected a time in whole milliseconds (got "1 2")'),
        ("1\n0x5\n", 'file:2: expected a time in whole milliseconds (got "0x5")'),
        ("9" * 5000, "file:1: expected a time in whole milliseconds"),
        ("1_0\n", 'file:1: expected a time in whole milliseconds (got "1_0")'),
        ("1\n\xb2\n", "file: expected numbers as plain text (got 0xc2 as byte 3)"),
        ("1\n\0\n", "file:2: expected a time in whole milliseconds"),
    ],
)
def test_a_trace_that_is_none(file: Path, text: str, why: str) -> None:
    file.write_text(text, encoding="utf-8")
    message = refusal(read_trace, file)
    assert why in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected 1 to 16384 entries (got 0)"),
        ("# only this\n", "expected 1 to 16384 entries (got 0)"),
        ("1 x\n", 'file:1: expected whole numbers of 16 bits (got "x")'),
        ("1\n32768\n", 'file:2: expected whole numbers of 16 bits (got "32768")'),
        ("-32769", 'file:1: expected whole numbers of 16 bits (got "-32769")'),
        ("1.5", 'file:1: expected whole numbers of 16 bits (got "1.5")'),
        ("1_0", 'file:1: expected whole numbers of 16 bits (got "1_0")'),
        ("010", 'file:1: expected whole numbers of 16 bits (got "010")'),
        ("0x10", 'file:1: expected whole numbers of 16 bits (got "0x10")'),
        ("9" * 5000, "file:1: expected whole numbers of 16 bits"),
        ("1 " * 16385, "expected 1 to 16384 entries (got 16385)"),
    ],
)
def test_a_distribution_that_is_none(file: Path, text: str, why: str) -> None:
    file.write_text(text)
    message = refusal(read_distribution, file)
    assert why in message
    assert len(message) < 400


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nosuch", 'got "nosuch", which is'),
        ("", "which is"),
        (".", "which is a folder"),
        ("/dev/zero", "which is no regular file"),
        ("x" * 300, "file name too long"),
        ("a\0b", "null"),
        ("~nobody_of_that_name/x", "home directory"),
    ],
)
def test_a_file_that_is_none(read: Callable[[str], Any], name: str, why: str) -> None:
    message = refusal(read, name)
    assert message.startswith("expected a ")
    assert why in message


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_may_not_be_read(read: Callable[[str], Any], file: Path) -> None:
    file.write_text("1\n")
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("root reads every file")
    assert "Permission denied" in refusal(read, file)


@pytest.mark.parametrize("read", READERS)
def test_a_file_without_end_is_refused(read: Callable[[str], Any], file: Path) -> None:
    with file.open("wb") as sparse:
        sparse.truncate(10**12)
    assert "expected at most 16 MB (got more)" in refusal(read, file)


def test_a_trace_with_too_many_lines(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_OPPORTUNITIES", 3)
    file.write_text("1\n" * 4)
    assert "file:4: expected at most 3 times (got more)" in refusal(read_trace, file)


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_changed_is_read_again(read: Callable[[str], Any], file: Path) -> None:
    file.write_text("1\n2\n")
    assert read(str(file)) == (1, 2)
    file.write_text("1\n3\n4\n")
    assert read(str(file)) == (1, 3, 4)


def test_the_same_name_in_another_folder_is_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("a", "1\n"), ("b", "2\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same").write_text(text)
    monkeypatch.chdir(tmp_path / "a")
    assert read_trace("same") == (1,)
    monkeypatch.chdir(tmp_path / "b")
    assert read_trace("same") == (2,)


def test_a_name_that_was_nearly_right() -> None:
    message = refusal(read_trace, "steady_12mbt")
    assert 'did you mean "steady_12mbit"?' in message
    assert "cellular_drive" in message


@pytest.mark.parametrize("read", READERS)
@given(data=st.binary(max_size=200) | st.text("0123456789-+# \n", max_size=60).map(str.encode))
def test_any_file_is_read_or_refused(
    read: Callable[[str], Any], data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any"
    file.write_bytes(data)
    with contextlib.suppress(QuantityError):
        read(str(file))
