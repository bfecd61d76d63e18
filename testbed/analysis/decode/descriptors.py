"""Frames of open descriptors -> DescriptorSample rows."""

from __future__ import annotations

import msgspec
import polars as pl

from testbed.analysis.decode.samples import Samples
from testbed.analysis.decode.schema import from_structs
from testbed.events.socket import DescriptorSample


class _Counted(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of a frame (`testbed.probes.sources.Descriptors`)."""

    process: str
    open: int | None = None
    soft_limit: int | None = None
    why: str = ""
    """What kept them from being counted."""


def decode_descriptors(samples: Samples) -> tuple[pl.DataFrame, str]:
    """Table of DescriptorSample, by time and process; what is no such payload is left out.

    Also why there is none where they could not be counted, in words.
    """
    rows = []
    why = ""
    for node, t_ns, payload in zip(
        samples.node, samples.t_ns.tolist(), samples.payload, strict=True
    ):
        try:
            found = msgspec.json.decode(payload, type=_Counted)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if found.open is None:
            why = why or f"of {found.process} they cannot be counted: {found.why}"
            continue
        rows.append(
            DescriptorSample(
                t_ns=t_ns,
                node=node,
                process=found.process,
                open_descriptors=found.open,
                soft_limit=found.soft_limit,
            )
        )
    table = from_structs(DescriptorSample, rows)
    return table.sort("t_ns", "process", maintain_order=True), why
