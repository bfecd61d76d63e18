"""Which events of the kernel are the run's, and of which packet, interface, node and process.

Rules:

- Tracepoints fire for the whole machine. An event is the run's when it names one of its interfaces,
  is of a packet that one of those was named for, of a socket that one of its processes used, or of
  one of its processes.
- A packet is known by the address of its buffer, which is used again: `_packets` says where one
  stay in a buffer ends and the next begins.
- Another run may have interfaces of the same names. What happens in a system call of a process that
  is none of ours is not ours, and neither is the packet. What a TAP device sent is ours if our
  relay read it.

Source of the flags: include/linux/trace_events.h, enum trace_flag_type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.decode.schema import from_columns
from testbed.analysis.decode.tracepoints import Trace
from testbed.analysis.tracing.softirqs import containing, softirqs
from testbed.events.tracepoints import KernelEvent
from testbed.recording.manifest import Manifest

Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
_IN_INTERRUPT: Final = 0x08 | 0x40
_IN_SOFTIRQ: Final = 0x10
QUEUED, RECEIVED, STACKED = "net:net_dev_queue", "net:netif_receive_skb", "net:netif_rx"
SENDING, SENT = "net:net_dev_start_xmit", "net:net_dev_xmit"
ENQUEUED, DEQUEUED = "qdisc:qdisc_enqueue", "qdisc:qdisc_dequeue"
PROBED, COPIED, DROPPED = "tcp:tcp_probe", "skb:skb_copy_datagram_iovec", "skb:kfree_skb"
READY, POLL = "sock:sk_data_ready", "napi:napi_poll"
FORK: Final = "sched:sched_process_fork"
SWITCH: Final = "sched:sched_switch"
RETRANSMITTED: Final = "tcp:tcp_retransmit_skb"
STATE: Final = "sock:inet_sock_set_state"
_SOCKET_CALLS: Final = ("sock:sock_send_length", "sock:sock_recv_length", STATE)
_PROMPT_NS: Final = 1_000_000
"""A segment without payload is dropped at once or not at all."""


@dataclass(frozen=True, slots=True)
class Names:
    """Who is who in the manifest."""

    node_of_interface: Mapping[str, str]
    processes: Mapping[int, tuple[str, str]]
    """Outer id -> name and node."""
    relayed: frozenset[str] = frozenset()
    """Interfaces whose packets the relay reads and writes."""


def names_of(trace: Trace, manifest: Manifest) -> Names:
    """The names of a run's interfaces and processes, threads and children of these included."""
    interfaces = {i.name: node.name for node in manifest.nodes for i in node.interfaces}
    processes = {
        number: (one.name, one.node)
        for one in trace.processes
        for number in (one.outer_id, *one.threads)
    }
    forks = trace.events.filter(pl.col("event") == FORK).select("previous", "subject")
    for parent, child in forks.iter_rows():
        if parent in processes:
            processes[child] = processes[parent]
    relayed = {
        name
        for link in manifest.links
        if link.wire == "relay"
        for name in (link.forward.sender_interface, link.forward.receiver_interface)
    }
    return Names(interfaces, processes, frozenset(relayed))


@dataclass(frozen=True, slots=True)
class Traced:
    """A trace with what is the run's."""

    events: pl.DataFrame
    """All events: the raw table and `place` (its row; rows are in the order of time), `context`,
    `own`, and of the run's events `node`, `interface` and `packet`."""
    softirqs: pl.DataFrame
    """See `softirqs.softirqs`."""
    names: Names
    missing: Mapping[str, str]
    """Event -> why it was not recorded."""
    foreign_packets: int
    """Of others, at interfaces of the same names."""

    @property
    def own(self) -> pl.DataFrame:
        """The run's events alone."""
        return self.events.filter("own")


def marked(trace: Trace, names: Names) -> Traced:
    """Finds the run's events in a trace."""
    events = _with_context(trace.events.with_row_index("place").cast({"place": pl.Int64}))
    events = _with_probed_packets(events)
    packets = _packets(events, names)
    foreign = packets.filter("foreign")["packet"].n_unique()
    packets = packets.filter(~pl.col("foreign")).drop("foreign")
    events = events.join(packets, on="place", how="left", maintain_order="left")
    sockets = _sockets(events, names)
    events = events.join(sockets, on="sk", how="left", maintain_order="left")
    ours = list(names.processes)
    found = softirqs(events)
    mine = found.filter("own")
    polls = events.filter(pl.col("event") == POLL)
    polled = containing(mine, polls["place"].to_numpy(), polls["cpu"].to_numpy()) >= 0
    in_softirq = pl.concat(
        [mine["entry"], mine["exit"], mine["raised"], polls["place"].filter(pl.Series(polled))]
    ).drop_nulls()
    alone = pl.col("skb").is_null() | (pl.col("event") == RETRANSMITTED)
    # A socket's address is used again, too: where its packet is known, that decides.
    own = (
        pl.col("packet").is_not_null()
        | alone & pl.col("socket_node").is_not_null()
        | pl.col("event").str.starts_with("sched:")
        & (pl.col("subject").is_in(ours) | pl.col("previous").is_in(ours))
        | pl.col("place").is_in(in_softirq.implode())
    )
    events = events.with_columns(
        own=own.fill_null(False), node=pl.coalesce("node", "socket_node")
    ).drop("socket_node")
    return Traced(events, found, names, trace.missing, foreign)


def kernel_events(traced: Traced) -> pl.DataFrame:
    """Table of KernelEvent, by time."""
    own, names = traced.own, traced.names
    ours = list(names.processes)
    about = (
        pl.when(pl.col("event") == SWITCH)
        .then(
            pl.when(pl.col("subject").is_in(ours))
            .then(pl.col("subject"))
            .otherwise(pl.col("previous"))
        )
        .otherwise(pl.coalesce("subject", "task"))
    )
    process = _mapped(about, {number: name for number, (name, _) in names.processes.items()})
    where = _mapped(about, {number: node for number, (_, node) in names.processes.items()})
    scheduled = pl.col("event").str.starts_with("sched:")
    table = own.select(
        "t_ns", "cpu", "event", "context",
        process_id=about,
        process=process,
        node=pl.when(scheduled).then(where).otherwise(pl.col("node")),
        interface="interface",
        packet=_dense("packet"),
        socket=_dense("sk"),
        local_port="local_port",
        remote_port="remote_port",
        length_bytes="length_bytes",
        result="result",
        reason="reason",
    )  # fmt: skip
    return from_columns(KernelEvent, {name: table[name] for name in table.columns})


def _dense(column: str) -> pl.Expr:
    """Small numbers in the place of addresses of the kernel, which are nobody's business."""
    return pl.col(column).rank("dense").cast(pl.Int64)


def _mapped(values: pl.Expr, known: Mapping[int, str] | Mapping[str, str]) -> pl.Expr:
    return values.replace_strict(dict(known), default=None, return_dtype=pl.String)


def _with_context(events: pl.DataFrame) -> pl.DataFrame:
    flags = pl.col("flags").fill_null(0)
    return events.with_columns(
        context=pl.when(flags & _IN_INTERRUPT != 0)
        .then(pl.lit("interrupt"))
        .when(flags & _IN_SOFTIRQ != 0)
        .then(pl.lit("softirq"))
        .otherwise(pl.lit("process"))
    )


def _with_probed_packets(events: pl.DataFrame) -> pl.DataFrame:
    """Gives `tcp_probe` the packet that it lacks on kernels before 6.10.

    It is the one that the same CPU received last, in the same context, if TCP has not looked at it
    yet: TCP looks at a segment at once, unless its socket was in use just then.
    """
    seen = events.filter(pl.col("event").is_in([RECEIVED, PROBED])).sort("cpu", "place")
    seen = seen.with_columns(
        last_event=pl.col("event").shift(1).over("cpu"),
        last_skb=pl.col("skb").shift(1).over("cpu"),
        last_context=pl.col("context").shift(1).over("cpu"),
    )
    found = seen.filter(
        (pl.col("event") == PROBED)
        & pl.col("skb").is_null()
        & (pl.col("last_event") == RECEIVED)
        & (pl.col("last_context") == pl.col("context"))
    ).select("place", "last_skb")
    joined = events.join(found, on="place", how="left", maintain_order="left")
    return joined.with_columns(skb=pl.coalesce("skb", "last_skb")).drop("last_skb")


def _packets(events: pl.DataFrame, names: Names) -> pl.DataFrame:
    """By place: packet (a stay in a buffer), node, interface, foreign (whether it is another's)."""
    seen = events.filter(pl.col("skb").is_not_null() & (pl.col("event") != RETRANSMITTED))
    called = (pl.col("context") == "process") & (pl.col("task") != 0)
    seen = seen.sort("skb", "place").with_columns(
        named_node=_mapped(pl.col("name"), names.node_of_interface),
        stranger=pl.when(called).then(~pl.col("task").is_in(list(names.processes))),
    )
    # Columns by hand from here on: polars takes half a minute for as many groups as packets.
    stranger = seen["stranger"].cast(pl.Int8).fill_null(-1).to_numpy()
    begins = _begins(seen).to_numpy()
    # Who works on a packet does not change: another's buffer, whose beginning was not seen.
    before = _last_until(stranger >= 0, begins, itself=False)
    begins = begins | ((before >= 0) & (stranger >= 0) & (stranger[before] != stranger))
    named = _last_until(seen["named_node"].is_not_null().to_numpy(), begins, itself=True)
    where = pl.Series(named).replace(-1, None).cast(pl.UInt32)
    interface = seen["name"].gather(where)
    # A timer's work is in nobody's system call: at a TAP device it shows by who reads it.
    sent = (seen["event"] == SENT) & interface.is_in(list(names.relayed)).fill_null(False)
    unread = _any_of(sent.to_numpy(), begins) & ~_any_of(stranger >= 0, begins)
    table = seen.select("place").with_columns(
        packet=pl.Series(np.cumsum(begins)),
        node=seen["named_node"].gather(where),
        interface=interface,
        foreign=pl.Series(_any_of(stranger == 1, begins) | unread),
    )
    return table.filter(pl.col("node").is_not_null())


def _last_until(which: Flags, begins: Flags, *, itself: bool) -> Places:
    """For each row the last one of its packet, up to it, that is `which`; -1: there is none.

    Args:
        which: rows.
        begins: rows that are the first of a packet.
        itself: whether the row itself counts.
    """
    rows = np.arange(which.size)
    last = np.maximum.accumulate(np.where(which, rows, -1)) if rows.size else rows
    if not itself:
        last = np.concatenate([[-1], last])[: rows.size]
    first = np.maximum.accumulate(np.where(begins, rows, 0)) if rows.size else rows
    found: Places = np.where(last >= first, last, -1)
    return found


def _any_of(which: Flags, begins: Flags) -> Flags:
    """For each row whether a row of its packet is `which`."""
    if not which.size:
        return which
    starts = np.flatnonzero(begins)
    of_packet = np.add.reduceat(which.astype(np.int64), starts) > 0
    found: Flags = of_packet[np.cumsum(begins) - 1]
    return found


def _begins(seen: pl.DataFrame) -> pl.Series:
    """Whether each event of a buffer is the first of another packet.

    - A packet that a router forwards or a veth pair hands over keeps its buffer: its stay goes on.
    - What a driver took (a TAP device: the relay read it), TCP consumed or a process read out is
      over without an event of its own.

    Args:
        seen: events with `named_node`, by buffer and place.
    """

    def before(column: str, rows: int = 1) -> pl.Expr:
        same = pl.col("skb") == pl.col("skb").shift(rows)
        return pl.when(same).then(pl.col(column).shift(rows))

    event, last = pl.col("event"), before("event")
    stacked = (last == STACKED) | (last == SENT) & (before("event", 2).fill_null("") == STACKED)
    # A host that answers on the same interface does so in a buffer of its own.
    forwarded = (
        (last == RECEIVED)
        & (before("named_node") == pl.col("named_node"))
        & (before("name") != pl.col("name"))
    )
    prompt = (before("cpu") == pl.col("cpu")) & (pl.col("t_ns") - before("t_ns") < _PROMPT_NS)
    acknowledged = (last == PROBED) & (before("length_bytes") == 0)
    begins = (
        last.is_null()
        | (last == DROPPED)
        | (event == STACKED) & (last != SENDING)
        | (event == RECEIVED) & ~stacked
        | (event == QUEUED) & ~forwarded.fill_null(False)
        | (event == DROPPED) & (last.is_in([SENT, COPIED]) | acknowledged & ~prompt)
    )
    return seen.select(begins=begins.fill_null(True))["begins"]


def _sockets(events: pl.DataFrame, names: Names) -> pl.DataFrame:
    """By sk: the node of sockets that a process of the run called, or that got a packet of it."""
    # The relay is in no node: a change of state that its writing brings about tells nothing.
    nodes = {number: node for number, (_, node) in names.processes.items() if node}
    calls = events.filter(
        pl.col("event").is_in(_SOCKET_CALLS)
        & pl.col("task").is_in(list(nodes))
        & (pl.col("context") == "process")
    ).select("sk", socket_node=_mapped(pl.col("task"), nodes))
    probes = events.filter((pl.col("event") == PROBED) & pl.col("packet").is_not_null()).select(
        "sk", socket_node="node"
    )
    return pl.concat([calls, probes]).drop_nulls().unique("sk", keep="first", maintain_order=True)
