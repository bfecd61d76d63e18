"""Traces event by event, as the tracer would have left them."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from testbed.analysis.decode.tracepoints import RAW_SCHEMA, Trace
from testbed.analysis.tracing.ownership import Names

TASK, RELAY, STRANGER = 20110, 7, 4711


def raw(*rows: dict[str, Any]) -> Trace:
    """A trace of these events, a microsecond apart, in system calls on CPU 0."""
    filled = [
        {"t_ns": 1000 * place, "cpu": 0, "flags": 0, "task": TASK, **row}
        for place, row in enumerate(rows)
    ]
    columns = {name: [row.get(name) for row in filled] for name in RAW_SCHEMA}
    return Trace(pl.DataFrame(columns, schema=RAW_SCHEMA), [], {}, 0)


NAMES: Final = Names(
    {"client-eth0": "client", "r1-eth0": "r1", "r1-eth1": "r1", "server-eth0": "server"},
    {TASK: ("server", "server"), RELAY: ("relay", "")},
)


def at(event: str, skb: int, name: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"event": event, "skb": skb, "name": name, **fields}


def received(skb: int, name: str, **fields: Any) -> dict[str, Any]:
    return at("net:netif_receive_skb", skb, name, task=RELAY, **fields)
