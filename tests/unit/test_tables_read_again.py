"""Rule: a table that was damaged or replaced since the analysis is an error that names the file."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from testbed.analysis.decode.schema import empty
from testbed.analysis.tables import read_table
from testbed.errors import RecordingError
from testbed.events.http import HttpRequest
from testbed.events.qdisc import QdiscSample


def write(folder: Path, table: pl.DataFrame) -> Path:
    path = folder / "http.parquet"
    table.write_parquet(path, compression="lz4", statistics=False)
    return path


def test_a_table_that_is_whole(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, empty(HttpRequest)), HttpRequest).height == 0


def test_another_table(tmp_path: Path) -> None:
    path = write(tmp_path, empty(QdiscSample))
    with pytest.raises(RecordingError, match=r"http\.parquet is damaged or another table: it lac"):
        read_table(path, HttpRequest)


@pytest.mark.parametrize("content", [b"", b"PAR1", bytes(1000), b"PAR1" + bytes(999) + b"PAR1"])
def test_no_table(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "http.parquet"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"http\.parquet is damaged; `testbed analyse"):
        read_table(path, HttpRequest)


def test_every_place_of_a_flipped_byte_gives_a_table_or_an_error(tmp_path: Path) -> None:
    content = write(tmp_path, empty(HttpRequest)).read_bytes()
    path = tmp_path / "http.parquet"
    refused = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            read_table(path, HttpRequest)
        except RecordingError as error:
            refused += "http.parquet" in str(error)
    assert refused > 23


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "http.parquet").mkdir()
    with pytest.raises(RecordingError, match=r"cannot read http\.parquet: Is a directory"):
        read_table(tmp_path / "http.parquet", HttpRequest)
