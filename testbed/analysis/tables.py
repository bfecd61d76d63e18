"""Tables of a recording, read again: what was damaged since it was written is an error.

Rules:

- Polars may end in a panic of its Rust code on a damaged file, which is no `Exception`: it is an
  error of the file all the same.
- A file that is whole and holds something else (one that was replaced, or that another version
  wrote) lacks columns, or has them with other types.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl

from testbed.analysis.decode.schema import schema_of
from testbed.errors import RecordingError


def read_table(path: Path, row: type[msgspec.Struct]) -> pl.DataFrame:
    """A table of events/ or links/ whose rows are `row`.

    Raises:
        RecordingError: it cannot be read, is damaged, or is another table.
    """
    again = f"`testbed analyse {path.parent.parent}` makes it anew"
    try:
        # Into memory first: a file that is mapped and cut meanwhile would end the process.
        table = pl.read_parquet(path.read_bytes())
    except OSError as error:
        raise RecordingError(
            f"cannot read {path.name}: {error.strerror or error}", where=str(path)
        ) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise RecordingError(f"{path.name} is damaged; {again}", where=str(path)) from error
    lacking = [name for name, kind in schema_of(row).items() if table.schema.get(name) != kind]
    if lacking:
        raise RecordingError(
            f"{path.name} is damaged or another table: it lacks {', '.join(lacking[:3])}; {again}",
            where=str(path),
        )
    return table
