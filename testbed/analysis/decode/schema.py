"""The columns of a table, from the type of its rows."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

_TYPES: Mapping[Any, type[pl.DataType]] = {
    int: pl.Int64,
    float: pl.Float64,
    bool: pl.Boolean,
    str: pl.String,
}


def schema_of(row: type[msgspec.Struct]) -> pl.Schema:
    """Column names and types of a table whose rows are `row`; a Literal of strings becomes an Enum.

    Raises:
        TypeError: a field is no number, string, boolean, Literal, or one of these or None.
    """
    hints = typing.get_type_hints(row)
    return pl.Schema({name: _column(hints[name]) for name in row.__struct_fields__})


def _column(hint: Any) -> pl.DataType | type[pl.DataType]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        return pl.Enum(typing.get_args(hint))
    found = _TYPES.get(hint)
    if found is None:
        raise TypeError(f"no column type for {hint}")
    return found


def empty(row: type[msgspec.Struct]) -> pl.DataFrame:
    """A table without rows."""
    return pl.DataFrame(schema=schema_of(row))


def from_structs(row: type[msgspec.Struct], rows: Sequence[msgspec.Struct]) -> pl.DataFrame:
    """A table of these rows."""
    names = row.__struct_fields__
    return pl.DataFrame(
        {name: [getattr(item, name) for item in rows] for name in names},
        schema=schema_of(row),
        strict=False,
    )


def from_columns(row: type[msgspec.Struct], columns: Mapping[str, Any]) -> pl.DataFrame:
    """A table from one sequence or array per field."""
    schema = schema_of(row)
    series = []
    for name, kind in schema.items():
        values = columns[name]
        if isinstance(values, pl.Series):
            series.append(values.alias(name).cast(kind))
        elif isinstance(values, np.ndarray):
            series.append(pl.Series(name, np.ascontiguousarray(values)).cast(kind))
        else:
            series.append(pl.Series(name, values, dtype=kind))
    return pl.DataFrame(series)


def code_column(codes: npt.ArrayLike, names: Sequence[str]) -> pl.Series:
    """Strings from numbers that count them; beyond the names: null."""
    array = np.asarray(codes).astype(np.int64)
    unknown = (array < 0) | (array >= len(names))
    known = pl.Series([*names, None], dtype=pl.String)
    return known.gather(np.where(unknown, len(names), array))
