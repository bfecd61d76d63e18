"""What clients saw: failures, latency from the intended start, goodput."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from testbed.analysis.metrics import reordering
from testbed.analysis.metrics.intervals import peak_overlap
from testbed.analysis.metrics.quantiles import quantiles
from testbed.analysis.summary import Http, HttpKind, Quantiles
from testbed.scenario.load_notation import Entry
from testbed.units import NS_PER_S


def http_summary(
    table: pl.DataFrame, entries: Sequence[Entry] = (), asgi: pl.DataFrame | None = None
) -> Http:
    """The numbers of all requests.

    Latency counts from the intended start, and over all attempts: no coordinated omission. Attempts
    after which another one followed count as attempts only.

    Args:
        table: of HttpRequest.
        entries: the kinds of the scenario's mix; none without a mix.
        asgi: what the servers saw, of AsgiRequest; None: they were not observed.
    """
    last = table.filter(~pl.col("retried"))
    done = last.filter(pl.col("failure").is_null())
    span_ns = _span_ns(table)
    carried = int(done.select(pl.sum("request_bytes") + pl.sum("response_bytes")).item())
    return Http(
        requests=last.height,
        completed=done.height,
        failed=last.height - done.height,
        failures=_outcomes(last),
        latency_ns=quantiles(done["latency_ns"].to_numpy()),
        request_rate_per_s=done.height * NS_PER_S / span_ns if span_ns else None,
        goodput_bit_s=carried * 8 * NS_PER_S / span_ns if span_ns else None,
        late_ns=quantiles(table["late_ns"].to_numpy()),
        connections=int(table["new_connection"].sum()),
        served={} if asgi is None else _by_node(asgi),
        attempts=table.height,
        retried=_outcomes(table.filter(pl.col("retried"))),
        mix=[_kind(last, place, entries) for place in range(len(entries))],
    )


def _outcomes(table: pl.DataFrame) -> dict[str, int]:
    """How often each failure came, by name."""
    counts = table.drop_nulls("failure").group_by("failure").len().sort("failure")
    return {str(name): int(count) for name, count in counts.iter_rows()}


def _by_node(asgi: pl.DataFrame) -> dict[str, int]:
    counts = asgi.drop_nulls("request_id").group_by("node").len().sort("node")
    return {str(node): int(count) for node, count in counts.iter_rows()}


def _kind(last: pl.DataFrame, place: int, entries: Sequence[Entry]) -> HttpKind:
    mine = last.filter(pl.col("entry") == place)
    done = mine.filter(pl.col("failure").is_null())
    return HttpKind(
        kind=entries[place].text,
        weight_ratio=entries[place].weight / sum(entry.weight for entry in entries),
        requests=mine.height,
        completed=done.height,
        failed=mine.height - done.height,
        latency_ns=quantiles(done["latency_ns"].to_numpy()),
    )


def _span_ns(table: pl.DataFrame) -> int:
    """From the first start to the last end."""
    if not table.height:
        return 0
    return int(table.select(pl.max("ended_ns") - pl.min("started_ns")).item())


def phase(table: pl.DataFrame, name: str) -> Quantiles | None:
    """Quantiles of one phase over the requests that had it; None where none had."""
    return quantiles(table[name].drop_nulls().to_numpy())


def overtaken_responses(table: pl.DataFrame) -> int:
    """Responses that ended after one to a later request (RFC 4737, 3.3, requests for packets).

    Within each process.
    """
    total = 0
    for _, rows in table.filter(pl.col("failure").is_null()).group_by("process"):
        ended = rows.sort("ended_ns", "started_ns")
        total += int(reordering.reordered(ended["started_ns"].to_numpy().astype(np.int64)).sum())
    return total


def peak_in_flight(table: pl.DataFrame) -> int:
    """The most requests that were open at once, over all clients."""
    return peak_overlap(table["started_ns"].to_numpy(), table["ended_ns"].to_numpy())
