"""Descriptors in use against their limit (definition ours, by the template of RFC 6390).

From samples of the processes of the application and of the clients.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl


class DescriptorUse(NamedTuple):
    """The sample in which a process came nearest to its limit."""

    open_descriptors: int
    soft_limit: int | None
    """None: no process has a limit."""
    process: str

    @property
    def is_near(self) -> bool:
        """Whether half of the limit was in use: it is then what there is to say of sockets."""
        return self.soft_limit is not None and self.open_descriptors * 2 >= self.soft_limit


def nearest_to_limit(table: pl.DataFrame | None) -> DescriptorUse | None:
    """Of all processes and times that with the largest share of its limit in use.

    Processes without a limit count by their descriptors alone. None where nothing was sampled.
    """
    if table is None or not table.height:
        return None
    share = (pl.col("open_descriptors") / pl.col("soft_limit")).fill_null(0.0)
    rows = table.with_columns(share.alias("share")).sort(
        "share", "open_descriptors", descending=True, maintain_order=True
    )
    found = rows.row(0, named=True)
    return DescriptorUse(found["open_descriptors"], found["soft_limit"], found["process"])
