"""How a segment that did not come was brought back, and where it was lost.

By TCP_INFO (include/uapi/linux/tcp.h) of the sender's socket at the samples around the
retransmission:

- `tcpi_total_rto` grew (since kernel 6.7), or the congestion state is Loss: a retransmission
  timeout (RFC 6298); what it marked as lost is sent again one round trip after the other, in Loss;
- else the state is Recovery, or acknowledgements with SACK blocks had come since the first
  transmission: a fast retransmission (RFC 6675, RFC 8985);
- else a tail loss probe (RFC 8985, 7).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.captures import Packets
from testbed.analysis.hosts import HostStreams
from testbed.analysis.journey.limits import Socket, by_socket
from testbed.analysis.journey.stage import Label
from testbed.analysis.journey.ways import Leg, Ways
from testbed.analysis.matching import NONE
from testbed.analysis.metrics.streams import connection_keys

Int64 = npt.NDArray[np.int64]

TIMEOUT: Final = "by timeout"
FAST: Final = "by fast retransmit"
PROBE: Final = "by tail loss probe"
HANDSHAKE: Final = "by handshake timeout"
UNKNOWN: Final = ""


class Recoveries:
    """What is known of the senders of one host."""

    def __init__(self, host: HostStreams, samples: pl.DataFrame | None) -> None:
        self._host = host
        self._samples: dict[Socket, pl.DataFrame] = {}
        if samples is not None:
            self._samples = dict(by_socket(samples.filter(pl.col("node") == host.node)))
        packets = host.packets
        acks = np.flatnonzero(packets.sack_blocks > 0)
        acks = acks[np.isin(acks, host.received.row)]
        self._ack_key = connection_keys(packets, acks)
        self._ack_ns = packets.t_ns[acks]

    def how(self, first_row: int, row: int, *, handshake: bool) -> str:
        """How the bytes of one transmission, which did not come, were sent again by another.

        Args:
            first_row: of the host's capture, the one that did not come.
            row: the one that did.
            handshake: it is a SYN.
        """
        if handshake:
            return HANDSHAKE
        packets = self._host.packets
        sent_ns, again_ns = int(packets.t_ns[first_row]), int(packets.t_ns[row])
        samples = self._samples.get(socket_of(self._host.node, packets, row))
        before = after = None
        if samples is not None:
            place = int(np.searchsorted(samples["t_ns"].to_numpy(), again_ns))
            if place < samples.height:
                after = samples.row(place, named=True)
            if place:
                before = samples.row(place - 1, named=True)
        return judge(before, after, self._selectively_acknowledged(row, sent_ns, again_ns))

    def _selectively_acknowledged(self, row: int, after_ns: int, before_ns: int) -> bool:
        packets = self._host.packets
        back = packets.take(np.array([row]))
        back.source, back.destination = back.destination, back.source
        back.source_port, back.destination_port = back.destination_port, back.source_port
        key = connection_keys(back)[0]
        during = (self._ack_ns > after_ns) & (self._ack_ns < before_ns)
        return bool((self._ack_key[during] == key).any())


def socket_of(node: str, packets: Packets, row: int) -> Socket:
    """The socket of a host that sent a packet."""
    return (
        node,
        int(packets.source_port[row]),
        int(packets.destination[row]),
        int(packets.destination_port[row]),
    )


def judge(before: dict[str, object] | None, after: dict[str, object] | None, acked: bool) -> str:
    """How a segment was sent again.

    Args:
        before: TCP_INFO of the last sample before, a row of events/tcp.parquet; None: there is
            none.
        after: of the first sample after.
        acked: acknowledgements with SACK blocks had come since it was first sent.
    """
    if after is None:
        return FAST if acked else UNKNOWN
    counted = after["total_rto"]
    if counted is not None:
        earlier = 0 if before is None else before["total_rto"]
        if isinstance(counted, int) and isinstance(earlier, int) and counted > earlier:
            return TIMEOUT
    earlier_state = None if before is None else before["congestion_state"]
    if "Loss" in (earlier_state, after["congestion_state"]):
        return TIMEOUT
    return FAST if acked or after["congestion_state"] == "Recovery" else PROBE


def lost_where(legs: list[Leg], ways: Ways, place: int) -> str:
    """Where one packet of a walk ended: ``r1-server``, ``the queue of r1``; empty: nowhere."""
    for leg in legs:
        number = int(leg.passage[place])
        if number == NONE:
            break
        settings = ways.passages[number].way.settings
        if leg.lost[place]:
            return f"{settings.sender}-{settings.receiver}"
        if leg.queue_dropped[place]:
            return f"the queue of {settings.receiver}"
    return ""


def label(how: str, where: str) -> Label:
    """The stage of a recovery."""
    return Label("recovery", "tcp", "recovery", where, how)
