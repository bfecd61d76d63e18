"""Rule: each request that was made is one point of latency, over all its attempts; what was not
made has none.
"""

from __future__ import annotations

import polars as pl

from testbed.analysis.series_build import _made
from testbed.events.outcomes import DROPPED


def test_who_has_a_latency() -> None:
    table = pl.DataFrame(
        {
            "number": [0, 1, 1, 2, 3],
            "failure": [None, "ReadTimeout", None, DROPPED, "ReadTimeout"],
            "retried": [False, True, False, False, False],
        },
        schema_overrides={"failure": pl.Categorical},
    )
    assert _made(table).rows() == [
        (0, None, False),
        (1, None, False),
        (3, "ReadTimeout", False),
    ]
