"""Why slow: which stages make up the latency at p50, p90 and p99, and how much is explained.

A quantile of the latency is one request, whose stages are chance. So the stages at a quantile are
those of the requests around it: 5 % of all on either side of p50 and p90, 1 % of p99, and at least
that request; but none whose latency is more than a quarter above or below, whose reasons are others
(the slowest request is not what p99 is made of). A stage's share is its part of the sum of their
latencies.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.analysis.journey.journeys import Journeys
from testbed.analysis.journey.stage import Label
from testbed.analysis.metrics.quantiles import nearest_rank
from testbed.analysis.summary import JourneysAtQuantile, JourneyStageShare, JourneySummary

Int64 = npt.NDArray[np.int64]

_AROUND: Final = {"p50": (0.5, 0.05), "p90": (0.9, 0.05), "p99": (0.99, 0.01)}
"""Quantile, and how many requests on either side of it count, as a share of all."""
_NEAR: Final = 0.25
"""How far the latency of such a request may be from the quantile, as a share of that."""
_MOST_STAGES: Final = 12
"""Shares that are kept of each quantile; the rest is added up."""


def journey_summary(found: Journeys) -> JourneySummary:
    """The summary of all journeys of completed requests."""
    asked, stages = found.exchanges, found.stages
    latency = asked.ended_ns - asked.begun_ns
    done = np.flatnonzero(~asked.failed)
    if not done.size:
        return JourneySummary(requests=0, explained_ratio=None, explained_requests_ratio=None)
    unexplained = np.zeros(latency.size, np.int64)
    lost = stages.code == 0
    np.add.at(unexplained, stages.request[lost], (stages.ended_ns - stages.started_ns)[lost])
    ratio = 1 - unexplained[done] / np.maximum(latency[done], 1)
    at = [] if found.missing else [at_quantile(found, name, done, latency) for name in _AROUND]
    ordered = np.sort(ratio)
    return JourneySummary(
        requests=int(done.size),
        explained_ratio={
            "p50": float(ordered[math.ceil(0.5 * done.size) - 1]),
            "p1": float(ordered[max(0, math.ceil(0.01 * done.size) - 1)]),
            "min": float(ordered[0]),
        },
        explained_requests_ratio=float((ratio >= EXPLAINED).mean()),
        why_slow=at,
        sentence=_sentence(at[-1]) if at else "",
        reason=found.missing,
    )


EXPLAINED: Final = 0.99
"""A request counts as explained when this much of its latency is."""


def at_quantile(
    found: Journeys, name: str, done: npt.NDArray[np.intp], latency: Int64
) -> JourneysAtQuantile:
    """What the latency at a quantile is made of.

    Args:
        found: the journeys.
        name: ``p50``, ``p90`` or ``p99``.
        done: rows of completed requests.
        latency: of every request, in nanoseconds.
    """
    share, around = _AROUND[name]
    order = done[np.argsort(latency[done], kind="stable")]
    rank = max(0, math.ceil(round(share * order.size, 9)) - 1)
    reach = math.floor(around * order.size)
    window = order[max(0, rank - reach) : rank + reach + 1]
    at_ns = latency[order[rank]]
    chosen = window[np.abs(latency[window] - at_ns) <= _NEAR * at_ns]
    stages = found.stages
    mine = np.isin(stages.request, chosen)
    sums = np.zeros(len(stages.labels), np.int64)
    np.add.at(sums, stages.code[mine], (stages.ended_ns - stages.started_ns)[mine])
    total = int(sums.sum())
    by_size = [i for i in np.argsort(-sums, kind="stable") if sums[i]]
    kept = [
        _share(stages.labels[i], int(sums[i]), total, chosen.size) for i in by_size[:_MOST_STAGES]
    ]
    return JourneysAtQuantile(
        quantile=name,
        latency_ns=nearest_rank(latency[done], share)[0],
        requests=int(chosen.size),
        stages=kept,
        other_ratio=1 - sum(one.ratio for one in kept) if total else 0.0,
    )


def _share(label: Label, sum_ns: int, total_ns: int, requests: int) -> JourneyStageShare:
    return JourneyStageShare(
        **label._asdict(), mean_ns=round(sum_ns / requests), ratio=sum_ns / total_ns
    )


def _sentence(at: JourneysAtQuantile) -> str:
    """The largest part of a quantile: ``p99 is 63 % recovery by timeout, lost on r1-r2``."""
    if not at.stages:
        return ""
    parts: dict[str, float] = {}
    for one in at.stages:
        parts[words(one)] = parts.get(words(one), 0.0) + one.ratio
    what, ratio = max(parts.items(), key=lambda item: item[1])
    return f"{at.quantile} is {100 * ratio:.0f} % {what}"


def lost_at(where: str) -> str:
    """Where a packet was lost, in words: ``lost on r1-r2``, ``lost in the queue of r1``."""
    return f"lost {'in' if where.startswith('the queue') else 'on'} {where}"


def words(one: JourneyStageShare) -> str:
    """A stage in words: ``recovery by timeout, lost on r1-r2``."""
    if one.kind == "unexplained":
        return one.kind
    note = f" {one.note}" if one.note.startswith("by ") else f" ({one.note})" if one.note else ""
    if one.stage == "recovery":
        return f"recovery{note}" + (f", {lost_at(one.where)}" if one.where else "")
    return f"{one.kind}: {one.stage}{note}" + (f", {one.where}" if one.where else "")
