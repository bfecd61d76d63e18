"""Rows of the ledger, and the counters that they are held against."""

from __future__ import annotations

from typing import Final

import polars as pl

from testbed.analysis.evidence import Evidence
from testbed.analysis.summary import LedgerRow

ROOT: Final = "root"


def row(
    what: str,
    entered: int | None,
    left: int | None,
    dropped: int | None,
    held: int | None,
    *,
    made: int | None = 0,
    strangers: int = 0,
    note: str = "",
) -> LedgerRow:
    """One row.

    `strangers` are packets on one side that are not on the other: they unbalance it even at a
    difference of 0.
    """
    sides = (entered, made, left, dropped, held)
    difference = balanced = None
    if entered is not None and made is not None and None not in sides:
        difference = entered + made - sum(side or 0 for side in (left, dropped, held))
        balanced = difference == 0 and not strangers
        if strangers:
            note = f"{strangers} packets are not the same on both sides" + (note and f"; {note}")
    return LedgerRow(
        what=what,
        entered=entered,
        left=left,
        dropped=dropped,
        held=held,
        difference=difference,
        balanced=balanced,
        note=note,
        made=made,
    )


def relay_count(evidence: Evidence, link: str, direction: str, what: str) -> int | None:
    """A count that the relay gave at its end (``arrived``, ``overflowed`` ...), or None."""
    for process in evidence.manifest.processes:
        found = process.about.get(f"{link}.{direction}.{what}")
        if process.kind == "relay" and isinstance(found, int):
            return found
    return None


def root_drops(evidence: Evidence, node: str) -> int | None:
    """Packets that all queues of a node dropped; None where they were not sampled.

    A root qdisc counts its children's drops too (net/sched/sch_htb.c, htb_enqueue;
    qdisc_tree_reduce_backlog).
    """
    table = evidence.table("qdisc")
    if table is None:
        return None
    roots = table.filter((pl.col("node") == node) & (pl.col("parent") == ROOT))
    if not roots.height:
        return None
    return int(
        roots.group_by("interface").agg(pl.col("dropped_packets").max())["dropped_packets"].sum()
    )
