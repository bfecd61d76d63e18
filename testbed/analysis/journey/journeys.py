"""The journeys of all requests, as they are and as a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from testbed.analysis.decode.schema import code_column, from_columns
from testbed.analysis.journey.exchange import Exchanges
from testbed.analysis.journey.stage import JourneyStage, Label
from testbed.analysis.journey.tape import Stages


@dataclass(frozen=True, slots=True)
class Journeys:
    """Stages of every request."""

    exchanges: Exchanges
    stages: Stages
    missing: str = ""
    """What they cannot be followed through the network without, in words."""


def journey_table(found: Journeys) -> pl.DataFrame:
    """Table of JourneyStage, by request in the order of events/http.parquet."""
    stages = found.stages
    labels = stages.labels
    ids = pl.Series(found.exchanges.request_id, dtype=pl.String)
    first = np.flatnonzero(np.diff(stages.request, prepend=-1))
    begins = np.zeros(stages.request.size, np.int64)
    begins[first] = first
    place = np.arange(stages.request.size) - np.maximum.accumulate(begins)
    return from_columns(
        JourneyStage,
        {
            "request_id": ids.gather(stages.request),
            "place": place,
            **{
                name: code_column(stages.code, [getattr(label, name) for label in labels])
                for name in Label._fields
            },
            "started_ns": stages.started_ns,
            "ended_ns": stages.ended_ns,
            "duration_ns": stages.ended_ns - stages.started_ns,
        },
    )
