"""Shapes of delay variation, as tables in iproute2's form. Pure.

A table is an inverse cumulative distribution: entry i of n is the value that a share of
(i + 1/2) / n of all packets stays below, and 8192 is one standard deviation. netem draws an entry
with the same probability for each (net/sched/sch_netem.c, tabledist). Both backends use these
tables, so that a shape is the same with both.

normal, pareto and paretonormal are those of iproute2's ``netem/*.c``: the normal distribution; a
Pareto distribution of shape 3 shifted to its mean 3/2 and scaled by 4/3; a quarter of the first and
three quarters of the second at the same cumulative probability.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from testbed.scenario.impairments import Variation
from testbed.scenario.tables import DISTRIBUTION_SCALE, read_distribution

ENTRIES: Final = 4096
"""iproute2's own tables have as many."""
_HIGHEST: Final = 32767
_PARETO_SHAPE: Final = 3.0

Table = npt.NDArray[np.int64]


def table_of(variation: Variation) -> Table:
    """The table of a variation; empty for ``uniform``, which needs none.

    Raises:
        QuantityError: its file cannot be read.
    """
    if variation.distribution == "table":
        return np.array(read_distribution(variation.file), np.int64)
    return named_table(variation.distribution)


@lru_cache(maxsize=8)
def named_table(name: str) -> Table:
    """The table of a shape with a name."""
    cumulative = (np.arange(ENTRIES) + 0.5) / ENTRIES
    if name == "uniform":
        return np.empty(0, np.int64)
    normal = np.array([NormalDist().inv_cdf(share) for share in cumulative])
    pareto = ((1 - cumulative) ** (-1 / _PARETO_SHAPE) - 1.5) * 4 / 3
    shape = {"normal": normal, "pareto": pareto, "paretonormal": 0.25 * normal + 0.75 * pareto}
    entries = np.rint(shape[name] * DISTRIBUTION_SCALE)
    table: Table = np.clip(entries, -_HIGHEST - 1, _HIGHEST).astype(np.int64)
    return table


def offsets_ns(draws: npt.NDArray[np.uint64], spread_ns: int, table: Table) -> Table:
    """What each draw of 64 random bits adds to the delay, in ns; may be negative."""
    if not table.size:
        # The upper 53 bits are as many as a float holds exactly.
        share = (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return np.floor(share * (2 * spread_ns)).astype(np.int64) - spread_ns
    entry = table[(draws % np.uint64(table.size)).astype(np.int64)]
    return entry * spread_ns // DISTRIBUTION_SCALE


def negative_ratio(variation: Variation, delay_ns: int) -> float:
    """Share of packets whose delay would be negative: they are not delayed at all."""
    table = table_of(variation)
    if not variation.spread_ns:
        return 0.0
    if not table.size:
        return max(0.0, (variation.spread_ns - delay_ns) / (2 * variation.spread_ns))
    return float((table * variation.spread_ns // DISTRIBUTION_SCALE < -delay_ns).mean())
