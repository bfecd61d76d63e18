"""events/packets.parquet: every captured packet of every node, a row each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.captures import addresses
from testbed.analysis.evidence import Evidence, NodeCapture

_PLAIN = (
    "t_ns", "size", "captured", "digest", "ethertype", "ip_id", "ip_tos", "ttl", "protocol",
    "source_port", "destination_port", "sequence", "acknowledgement", "flags", "window", "payload",
    "timestamp", "timestamp_echo", "sack_blocks", "dsack",
)  # fmt: skip
"""Columns that are written as they are (testbed.analysis.captures.Packets says what they hold)."""


def packet_table(evidence: Evidence) -> pl.DataFrame:
    """All packets by node, in the order of its capture; `row` counts within a node.

    Addresses are text, "" for what is not IP.
    """
    parts = [
        _node_rows(evidence.captures[node], evidence.topology.address_keys)
        for node in sorted(evidence.captures)
    ]
    return pl.concat(parts)


def _node_rows(capture: NodeCapture, known: dict[int, str]) -> pl.DataFrame:
    packets = capture.packets
    names = pl.Series([i.name for i in capture.interfaces], dtype=pl.Categorical)
    columns = {
        "node": pl.repeat(capture.node, packets.count, dtype=pl.Categorical, eager=True),
        "row": np.arange(packets.count, dtype=np.uint32),
        "interface": names.gather(packets.interface),
        "outgoing": capture.outgoing,
        "source": _texts(packets.source, known),
        "destination": _texts(packets.destination, known),
        **{name: getattr(packets, name) for name in _PLAIN},
    }
    return pl.DataFrame(columns)


def _texts(keys: npt.NDArray[np.uint64], known: dict[int, str]) -> pl.Series:
    distinct = pl.Series(keys).unique().sort().to_numpy()
    texts = ["" if key == 0 else addresses.text(int(key), known) for key in distinct]
    return pl.Series(texts, dtype=pl.Categorical).gather(np.searchsorted(distinct, keys))
