"""Waiting in ASGI applications (definition ours, by the template of RFC 6390).

Starved in receive(), pushed back in send().
"""

from __future__ import annotations

import polars as pl

from testbed.analysis.metrics.intervals import peak_overlap


def waits_ns(calls: pl.DataFrame, call: str) -> pl.Series:
    """How long each call of receive() or send() took."""
    mine = calls.filter(pl.col("call") == call)
    return (mine["ended_ns"] - mine["started_ns"]).alias("wait_ns")


def peak_in_flight(requests: pl.DataFrame) -> int:
    """The most calls of the application that were open at once, over all processes."""
    return peak_overlap(requests["started_ns"].to_numpy(), requests["ended_ns"].to_numpy())


def error_responses(requests: pl.DataFrame) -> int:
    """Answers with a status of 500 or more."""
    return requests.filter(pl.col("status") >= 500).height


def client_error_responses(requests: pl.DataFrame) -> int:
    """Answers with a status of 400 to 499."""
    return requests.filter(pl.col("status").is_between(400, 499)).height
