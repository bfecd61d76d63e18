"""The numbers of each direction of each link, for summary.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.crossings import Passage
from testbed.analysis.decode.link import DELIVERED, HELD, LOST
from testbed.analysis.evidence import Evidence
from testbed.analysis.matching import NONE, inverse
from testbed.analysis.metrics import delay, loss, reordering, throughput
from testbed.analysis.metrics.intervals import peak_overlap
from testbed.analysis.metrics.quantiles import count_quantiles, delay_quantiles, quantiles
from testbed.analysis.realised import impairments
from testbed.analysis.summary import LinkDirection
from testbed.analysis.topology import Way
from testbed.events.link import COPY, CORRUPTED, DIGEST_BYTES

Int64 = npt.NDArray[np.int64]

N_REORDERED: Final = 3
"""Overtaken by this many a packet causes three duplicate ACKs (RFC 5681, RFC 4737 section 5)."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """The packets of one direction from the best source there is.

    Both captures, else the relay's log.
    """

    sent_ns: Int64
    size: Int64
    partner: Int64
    """Per packet sent its row among those received, or NONE; of a copied one the first."""
    received_ns: Int64
    received_bytes: Int64
    lost: npt.NDArray[np.bool_]
    copies: int
    """Arrivals of a packet beyond its first."""
    corrupted: int
    """Packets that came with other bits than they were sent with, each once."""
    strangers: int
    """Arrivals that nobody sent, as far as can be seen."""
    by_log: bool
    """Whether the relay's log says what is a copy and what was corrupted."""

    @property
    def arrival_order(self) -> Int64:
        """Numbers (by the order of sending) of the packets that arrived, in order of arrival.

        Each once (RFC 4737, 3: duplicates are removed first).
        """
        back = inverse(self.partner, self.received_ns.size)
        arrived: Int64 = back[back != NONE]
        return arrived

    @property
    def arrival_ns(self) -> Int64:
        """When each of them came."""
        came_ns: Int64 = self.received_ns[np.sort(self.partner[self.partner != NONE])]
        return came_ns


def sequence_of(passage: Passage) -> Sequence | None:
    """The packets of one direction; None where neither both ends nor a log were kept."""
    wire, lost = passage.wire, passage.lost
    if (
        wire.to_receiver is not None
        and wire.sent_ns is not None
        and wire.received_ns is not None
        and wire.sent_bytes is not None
        and wire.received_bytes is not None
        and wire.copy is not None
        and wire.corrupted is not None
        and lost is not None
    ):
        return Sequence(
            sent_ns=wire.sent_ns,
            size=wire.sent_bytes,
            partner=wire.to_receiver,
            received_ns=wire.received_ns,
            received_bytes=wire.received_bytes,
            lost=lost,
            copies=int(wire.copy.sum()),
            corrupted=int((wire.corrupted & ~wire.copy).sum()),
            strangers=wire.strangers or 0,
            by_log=wire.by_log,
        )
    return None if passage.records is None else _logged(passage.records)


def _logged(records: npt.NDArray[np.void]) -> Sequence:
    """From the relay's log alone: arrivals are departures from it."""
    copy = (records["flags"] & COPY) != 0
    delivered = np.flatnonzero(records["fate"] == DELIVERED)
    order = delivered[np.argsort(records["place"][delivered], kind="stable")]
    # Per delivered record the packet, by number, that it is or is a copy of.
    packet = (np.cumsum(~copy) - 1)[order]
    partner = np.full(int((~copy).sum()), NONE, np.int64)
    # Backwards, so that the first one is written last and stays.
    partner[packet[::-1]] = np.arange(order.size)[::-1]
    plain = records[~copy]
    came = partner != NONE
    return Sequence(
        sent_ns=plain["arrival_ns"].astype(np.int64),
        size=plain["size_bytes"].astype(np.int64),
        partner=partner,
        received_ns=records["departure_ns"][order].astype(np.int64),
        received_bytes=records["size_bytes"][order].astype(np.int64),
        lost=np.asarray(plain["fate"] == LOST),
        copies=int(order.size - came.sum()),
        corrupted=int((((plain["flags"] & CORRUPTED) != 0) & came).sum()),
        strangers=0,
        by_log=True,
    )


def link_direction(passage: Passage, evidence: Evidence) -> LinkDirection:
    """The numbers of one direction."""
    settings, wire = passage.way.settings, passage.wire
    sequence = sequence_of(passage)
    queue = queue_table(evidence, passage.way)
    configured: dict[str, Any] = {
        "capacity_bit_s": settings.capacity_bit_s,
        "configured_delay_ns": settings.delay_ns,
        "configured_loss_ratio": settings.loss_ratio,
        "queue_dropped_packets": _queue_drops(passage, queue),
        "peak_queue_packets": _peak_queue(passage, queue),
        "impairments": impairments(passage, evidence.manifest.load_started_ns),
        **_planned(passage),
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
            **configured,
        )
    delays = delay.one_way_delays(sequence.sent_ns, sequence.received_ns, sequence.partner)
    return LinkDirection(
        sent_packets=int(sequence.sent_ns.size),
        delivered_packets=int(sequence.received_ns.size),
        one_way_delay_ns=delay_quantiles(delays),
        delay_variation_ns=quantiles(delay.packet_delay_variation(delays)),
        sent_bytes=int(sequence.size.sum()),
        peak_throughput_bit_s=throughput.peak_bit_s(sequence.received_ns, sequence.received_bytes),
        notes=_notes(passage, sequence),
        **_loss(sequence),
        **_changed(passage, sequence),
        **_order(sequence),
        **configured,
    )


def _loss(sequence: Sequence) -> dict[str, Any]:
    return {
        "lost_packets": int(sequence.lost.sum()),
        "realised_loss_ratio": loss.loss_ratio(sequence.lost),
        "loss_runs": loss.loss_runs(sequence.lost),
        "mean_loss_run_packets": loss.mean_run(sequence.lost),
        "burst_ratio": loss.burst_ratio(sequence.lost),
    }


def _changed(passage: Passage, sequence: Sequence) -> dict[str, Any]:
    copies, corrupted = changed_packets(passage, sequence)
    arrived = int((sequence.partner != NONE).sum())
    return {
        "duplicated_packets": copies,
        "corrupted_packets": corrupted,
        "duplicated_ratio": copies / arrived if copies is not None and arrived else None,
        "corrupted_ratio": corrupted / arrived if corrupted is not None and arrived else None,
    }


def changed_packets(passage: Passage, sequence: Sequence) -> tuple[int | None, int | None]:
    """Copies and corrupted packets; None where what was seen does not tell."""
    if sequence.by_log:
        return sequence.copies, sequence.corrupted
    ways = passage.periods.settings
    copies: int | None = sequence.copies
    corrupted: int | None = sequence.corrupted
    if copies and not any(way.duplicate for way in ways):
        copies = None
    asked = any(way.corrupt for way in ways)
    hidden = asked and bool((sequence.received_bytes > DIGEST_BYTES).any())
    if (corrupted and not asked) or (not corrupted and hidden):
        corrupted = None
    return copies, corrupted


def _order(sequence: Sequence) -> dict[str, Any]:
    order = sequence.arrival_order
    return {
        "reordered_packets": int(reordering.reordered(order).sum()),
        "reordered_ratio": reordering.reordered_ratio(order),
        "reordering_extent_packets": count_quantiles(reordering.extents(order)),
        "reordering_late_ns": quantiles(reordering.late_times_ns(order, sequence.arrival_ns)),
        "three_reordered_packets": reordering.n_reordered(order, N_REORDERED),
    }


def _notes(passage: Passage, sequence: Sequence) -> list[str]:
    """What the numbers of one direction cannot say."""
    if sequence.by_log:
        return []
    ways = passage.periods.settings
    notes = []
    if any(way.corrupt for way in ways) and (sequence.received_bytes > DIGEST_BYTES).any():
        notes.append(
            f"corrupted: at least so many; without a relay's log only flips in the first "
            f"{DIGEST_BYTES} bytes of a packet are seen"
        )
    if any(way.duplicate for way in ways):
        notes.append("duplicated: those that came; whether a copy was lost is not seen")
    if any(way.trace for way in ways):
        notes.append(
            "lost: without the relay's log those that the queue before the trace dropped are among "
            "them"
        )
    if sequence.strangers:
        notes.append(f"{sequence.strangers} packets came of which it is not known what they were")
    return notes


def _planned(passage: Passage) -> dict[str, Any]:
    """What the relay meant packets to take."""
    records = passage.originals
    if records is None:
        return {}
    went = records["fate"] == DELIVERED
    arrival_ns = records["arrival_ns"][went].astype(np.int64)
    planned = records["due_ns"][went].astype(np.int64) - arrival_ns
    found: dict[str, Any] = {"planned_delay_ns": delay_quantiles(planned)}
    if any(way.delay_variation for way in passage.periods.settings):
        set_ns = np.array([way.delay_ns for way in passage.periods.settings], np.int64)
        period = passage.periods.during(arrival_ns)
        found["planned_variation_ns"] = delay_quantiles(planned - set_ns[period])
    return found


def _queue_drops(passage: Passage, queue: pl.DataFrame | None) -> int | None:
    """Of the queue before the wire; of a wire that follows a trace those of its own queue."""
    if passage.way.settings.trace is not None:
        fates = passage.fates()
        return None if fates is None else fates["dropped"]
    return None if queue is None else _increase(queue, "dropped_packets")


def _peak_queue(passage: Passage, queue: pl.DataFrame | None) -> int | None:
    settings, records = passage.way.settings, passage.originals
    if settings.trace is None:
        return None if queue is None else _peak(queue)
    if records is None or any(way.delay_variation for way in passage.periods.settings):
        return None
    # On such a wire packets wait from their arrival until the delay that was set remains.
    waited = records[(records["fate"] == DELIVERED) | (records["fate"] == HELD)]
    set_ns = np.array([way.delay_ns for way in passage.periods.settings], np.int64)
    arrival = waited["arrival_ns"].astype(np.int64)
    return peak_overlap(arrival, waited["due_ns"] - set_ns[passage.periods.during(arrival)])


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
