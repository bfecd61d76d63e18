"""The numbers of each direction of each link, for summary.json."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.crossings import Passage
from testbed.analysis.decode.link import DELIVERED
from testbed.analysis.evidence import Evidence
from testbed.analysis.matching import NONE, inverse
from testbed.analysis.metrics import delay, loss, reordering, throughput
from testbed.analysis.metrics.quantiles import delay_quantiles, quantiles
from testbed.analysis.summary import LinkDirection
from testbed.analysis.topology import Way

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sequence:
    """The packets of one direction from the best source there is.

    Both captures, else the relay's log.
    """

    sent_ns: Int64
    size: Int64
    partner: Int64
    """Per packet sent its row among those received, or NONE."""
    received_ns: Int64
    lost: npt.NDArray[np.bool_]

    @property
    def arrival_order(self) -> Int64:
        """Numbers (by the order of sending) of the packets that arrived, in order of arrival."""
        back = inverse(self.partner, self.received_ns.size)
        arrived: Int64 = back[back != NONE]
        return arrived


def sequence_of(passage: Passage) -> Sequence | None:
    """The packets of one direction; None where neither both ends nor a log were kept."""
    wire, lost, records = passage.wire, passage.lost, passage.records
    if (
        wire.to_receiver is not None
        and wire.sent_ns is not None
        and wire.received_ns is not None
        and wire.sent_bytes is not None
        and lost is not None
    ):
        return Sequence(wire.sent_ns, wire.sent_bytes, wire.to_receiver, wire.received_ns, lost)
    if records is None:
        return None
    delivered = np.flatnonzero(records["fate"] == DELIVERED)
    order = delivered[np.argsort(records["departure_ns"][delivered], kind="stable")]
    partner = np.full(len(records), NONE, np.int64)
    partner[order] = np.arange(order.size)
    return Sequence(
        sent_ns=records["arrival_ns"].astype(np.int64),
        size=records["size_bytes"].astype(np.int64),
        partner=partner,
        received_ns=records["departure_ns"][order].astype(np.int64),
        lost=np.asarray(records["fate"] == 1),
    )


def link_direction(passage: Passage, evidence: Evidence) -> LinkDirection:
    """The numbers of one direction."""
    settings = passage.way.settings
    wire = passage.wire
    sequence = sequence_of(passage)
    queue = queue_table(evidence, passage.way)
    configured = {
        "capacity_bit_s": settings.capacity_bit_s,
        "configured_delay_ns": settings.delay_ns,
        "configured_loss_ratio": settings.loss_ratio,
        "queue_dropped_packets": None if queue is None else _increase(queue, "dropped_packets"),
        "peak_queue_packets": None if queue is None else _peak(queue),
    }
    if sequence is None:
        return LinkDirection(
            sent_packets=None if wire.sent_ns is None else int(wire.sent_ns.size),
            delivered_packets=None if wire.received_ns is None else int(wire.received_ns.size),
            lost_packets=None,
            duplicated_packets=None,
            corrupted_packets=None,
            reordered_packets=None,
            one_way_delay_ns=None,
            **configured,  # type: ignore[arg-type]
        )
    delays = delay.one_way_delays(sequence.sent_ns, sequence.received_ns, sequence.partner)
    order = sequence.arrival_order
    alone = sequence.received_ns.size - order.size
    both_ends = passage.wire.sent_ns is not None and passage.wire.received_ns is not None
    arrived_bytes = sequence.size[order]
    return LinkDirection(
        sent_packets=int(sequence.sent_ns.size),
        delivered_packets=int(order.size),
        lost_packets=int(sequence.lost.sum()),
        # Nothing duplicates or corrupts yet: what was captured and never sent would show it.
        duplicated_packets=0 if both_ends and alone == 0 else None,
        corrupted_packets=0 if both_ends and alone == 0 else None,
        reordered_packets=int(reordering.reordered(order).sum()),
        one_way_delay_ns=delay_quantiles(delays),
        delay_variation_ns=quantiles(delay.packet_delay_variation(delays)),
        sent_bytes=int(sequence.size.sum()),
        peak_throughput_bit_s=throughput.peak_bit_s(
            sequence.received_ns[np.sort(sequence.partner[sequence.partner != NONE])],
            arrived_bytes,
        ),
        realised_loss_ratio=loss.loss_ratio(sequence.lost),
        loss_runs=loss.loss_runs(sequence.lost),
        **configured,  # type: ignore[arg-type]
    )


def queue_table(evidence: Evidence, way: Way) -> pl.DataFrame | None:
    """The samples of the qdisc that packets wait in before one direction.

    That is the one with the longest parent chain (pfifo below HTB), or the root where it is alone;
    None where none was sampled.
    """
    table = evidence.table("qdisc")
    if table is None:
        return None
    settings = way.settings
    mine = table.filter(
        (pl.col("node") == settings.sender) & (pl.col("interface") == settings.sender_interface)
    )
    leaf = mine.filter(pl.col("parent") != "root")
    chosen = leaf if leaf.height else mine
    if chosen.height:
        handle = chosen["handle"][0]
        chosen = chosen.filter(pl.col("handle") == handle)
    return chosen if chosen.height else None


def _increase(table: pl.DataFrame, column: str) -> int:
    """Counters begin at 0 with their qdisc, which is made for the run.

    The last value is the increase.
    """
    return int(table[column].max())  # type: ignore[arg-type]


def _peak(table: pl.DataFrame) -> int:
    return int(table["backlog_packets"].max())  # type: ignore[arg-type]
