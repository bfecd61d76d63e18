"""Rule: what tracepoints say is read as the kernel itself reads it, is the run's or is left out,
and what is not known is null.

The trace of a real kernel in tests/data/tracepoints has three messages over one TCP connection.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from testbed.analysis.decode.trace_format import parse_format
from testbed.analysis.decode.tracepoints import Trace, decode_tracepoints
from testbed.analysis.tracing import figures
from testbed.analysis.tracing.drops import drop_reasons, layer_of
from testbed.analysis.tracing.ownership import Names, Traced, kernel_events, marked
from testbed.analysis.tracing.receive_path import receive_paths
from testbed.errors import RecordingError
from testbed.recording.layout import create_partial
from testbed.recording.segments import Segment, SegmentHeader, SegmentWriter
from tests.builders.traced import NAMES, RELAY, STRANGER, TASK, at, raw, received
from tests.support.data import pasted

DATA: Final = Path(__file__).resolve().parents[1] / "data" / "tracepoints"
LINE: Final = re.compile(r"\[(\d+)\] \S+ (\d+)\.(\d{6}): (\w+): (.*)")


@pytest.fixture(scope="module")
def trace() -> Trace:
    """The real one."""
    return decode_tracepoints(Segment(DATA / "loopback.seg"))


@pytest.fixture(scope="module")
def loopback(trace: Trace) -> Traced:
    """It, as if `lo` were an interface of the node ``server``."""
    (process,) = trace.processes
    return marked(trace, Names({"lo": "server"}, {process.outer_id: ("server", "server")}))


def printed() -> list[tuple[int, int, str, str]]:
    """CPU, time in us, event and text of each event as the kernel prints it."""
    found = [LINE.search(line) for line in pasted("tracepoints/loopback.txt").splitlines()]
    return [
        (int(m[1]), int(m[2]) * 1_000_000 + int(m[3]), m[4], m[5]) for m in found if m is not None
    ]


def rounded_us(t_ns: int) -> int:
    return (t_ns + 500) // 1000


def test_events_are_those_that_the_kernel_prints(trace: Trace) -> None:
    seen = [
        (cpu, rounded_us(t_ns), event.partition(":")[2])
        for cpu, t_ns, event in trace.events.select("cpu", "t_ns", "event").iter_rows()
    ]
    assert len(seen) == 113
    assert seen == [line[:3] for line in printed()]
    assert (trace.lost_events, trace.damage, trace.missing) == (0, [], {})


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ("name", r"dev=(\w+)"),
        ("local_port", r"sport=(\d+)|src=[\d.]+:(\d+)"),
        ("remote_port", r"dport=(\d+)|dest=[\d.]+:(\d+)"),
        ("length_bytes", r"(?<![_\w])(?:data_)?len(?:gth)?(?:=| = )(\d+)"),
    ],
)
def test_fields_are_those_that_the_kernel_prints(trace: Trace, column: str, shown: str) -> None:
    wanted = []
    for _, _, event, text in printed():
        if event == "net_dev_start_xmit":
            text = text.replace("data_len", "other")
        match = re.search(shown, text)
        wanted.append(next((g for g in match.groups() if g), None) if match else None)
    seen = [None if value is None else str(value) for value in trace.events[column].to_list()]
    assert seen == wanted


def test_numbers_have_the_names_that_the_kernel_has_for_them(trace: Trace) -> None:
    reasons = dict(trace.events.group_by("event").agg(pl.col("reason").unique()).iter_rows())
    assert reasons["skb:kfree_skb"] == ["QUEUE_PURGE"]
    assert reasons["irq:softirq_entry"] == ["NET_RX"]
    assert set(reasons["sock:inet_sock_set_state"]) >= {"SYN_SENT", "ESTABLISHED", "CLOSE"}


def test_everything_of_a_private_loopback_is_the_runs(loopback: Traced) -> None:
    table = kernel_events(loopback)
    # But for the listener: it was made before the trace, and no event names its owner.
    assert table.height == 112
    assert set(table["node"].drop_nulls()) == {"server"}
    assert table["socket"].drop_nulls().n_unique() == 2
    # SYN, SYN-ACK, ACK, three times data and its acknowledgement, FIN, FIN, ACK
    assert table["packet"].drop_nulls().n_unique() == 3 + 6 + 3
    assert not table.filter(pl.col("event") == "net:netif_rx")["packet"].is_duplicated().any()


def test_three_segments_on_their_way_to_the_socket(loopback: Traced) -> None:
    paths = receive_paths(loopback).filter(pl.col("payload_bytes") > 0)
    assert paths["payload_bytes"].to_list() == [100, 101, 102]
    assert paths["start"].to_list() == ["netif_rx"] * 3
    steps = ("start_ns", "softirq_ns", "received_ns", "tcp_ns", "socket_ns", "copied_ns")
    for row in paths.select(steps).rows():
        assert list(row) == sorted(row)
    assert paths["interrupt_to_socket_ns"].to_list() == pytest.approx([7000, 3000, 3000], abs=1000)


def test_softirqs_wait_from_the_first_time_they_are_raised(loopback: Traced) -> None:
    seen = loopback.softirqs
    assert seen.height == 7
    assert seen["own"].all()
    assert (seen["entry_ns"] > seen["raised_ns"]).all()


def test_a_probe_that_names_no_packet_is_of_the_one_just_received(trace: Trace) -> None:
    # As kernels before 6.10 have it.
    probe = pl.col("event") == "tcp:tcp_probe"
    skb = pl.when(probe).then(None).otherwise("skb").alias("skb")
    sk = pl.when(probe).then(None).otherwise("sk").alias("sk")
    old = Trace(trace.events.with_columns(skb, sk), [], {}, 0)
    names = Names({"lo": "server"}, {TASK: ("server", "server")})
    paths = receive_paths(marked(old, names)).filter(pl.col("payload_bytes") > 0)
    assert (
        paths.rows()
        == receive_paths(marked(trace, names)).filter(pl.col("payload_bytes") > 0).rows()
    )


def test_without_names_nothing_is_the_runs(trace: Trace) -> None:
    assert kernel_events(marked(trace, Names({}, {}))).height == 0
    foreign = marked(trace, Names({"lo": "server"}, {STRANGER: ("server", "server")}))
    # A packet that was seen in softirqs alone might be anybody's.
    packets = foreign.own.filter(pl.col("packet").is_not_null())
    assert set(packets["context"]) == {"softirq"}


def test_23_drops_of_a_full_queue() -> None:
    rows = []
    for number in range(23):
        rows += [
            received(number, "r1-eth0"),
            at("net:net_dev_queue", number, "r1-eth1", task=RELAY),
            at("skb:kfree_skb", number, task=RELAY, reason="QDISC_DROP"),
            at("skb:kfree_skb", 1000 + number, task=STRANGER, reason="QDISC_DROP"),
        ]
    table = kernel_events(marked(raw(*rows), NAMES))
    assert drop_reasons(table) == {
        "nic": {}, "qdisc": {"QDISC_DROP": 23}, "ip": {}, "tcp": {}, "socket": {},
    }  # fmt: skip
    drops = table.filter(pl.col("event") == "skb:kfree_skb")
    assert drops["interface"].unique().to_list() == ["r1-eth1"]


@pytest.mark.parametrize("reason", ["NOT_SPECIFIED", "QUEUE_PURGE"])
def test_what_a_connection_leaves_behind_is_no_loss(reason: str) -> None:
    rows = [received(1, "r1-eth0"), at("skb:kfree_skb", 1, task=RELAY, reason=reason)]
    assert not any(drop_reasons(kernel_events(marked(raw(*rows), NAMES))).values())


@pytest.mark.parametrize(
    ("reason", "layer"),
    [
        ("FULL_RING", "nic"), ("OTHERHOST", "nic"), ("QDISC_OVERLIMIT", "qdisc"),
        ("FQ_FLOW_LIMIT", "qdisc"), ("IP_INHDR", "ip"), ("NEIGH_QUEUEFULL", "ip"),
        ("TCP_CSUM", "tcp"), ("TCP_OFO_DROP", "tcp"), ("TCP_LISTEN_OVERFLOW", "socket"),
        ("SOCKET_BACKLOG", "socket"),
    ],
)  # fmt: skip
def test_each_reason_has_its_layer(reason: str, layer: str) -> None:
    assert layer_of(reason, None) == layer


def test_a_reason_that_names_no_layer_is_of_where_the_packet_was() -> None:
    assert layer_of("NEW_ONE", "net:net_dev_start_xmit") == "nic"
    assert layer_of("NEW_ONE", "net:netif_receive_skb") == "ip"


def test_the_time_in_a_queue() -> None:
    trace = raw(
        at("net:net_dev_queue", 1, "r1-eth1"),
        at("qdisc:qdisc_enqueue", 1),
        at("net:net_dev_queue", 2, "r1-eth1"),
        at("qdisc:qdisc_enqueue", 2),
        at("qdisc:qdisc_dequeue", 1),
        at("net:net_dev_start_xmit", 1, "r1-eth1"),
        at("net:net_dev_start_xmit", 2, "r1-eth1"),
    )
    table = kernel_events(marked(trace, NAMES))
    assert sorted(figures.sojourn_ns(table).to_list()) == [3000, 3000]


def test_netem_in_the_middle_of_a_link_is_no_queue_of_a_node() -> None:
    rows = [
        at("net:net_dev_queue", 1, "client-eth0"),
        at("net:net_dev_start_xmit", 1, "client-eth0"),
    ]
    waits = [at("qdisc:qdisc_enqueue", 1), at("qdisc:qdisc_dequeue", 1)]
    table = kernel_events(marked(raw(*rows, *waits, at("net:netif_rx", 1, "r1-eth0")), NAMES))
    assert figures.sojourn_ns(table).to_list() == []
    lost = kernel_events(marked(raw(*rows, at("skb:kfree_skb", 1, reason="QDISC_DROP")), NAMES))
    assert not any(drop_reasons(lost).values())


def test_what_the_kernel_cannot_say_is_null_and_not_zero() -> None:
    called = raw({"event": "sock:sock_recv_length", "sk": 5})
    tables = {"kernel_events": kernel_events(marked(called, NAMES))}
    assert figures.drops_in(tables, {}, "tcp") == {}
    assert figures.drops_in(tables, {"skb:kfree_skb": "not in this kernel"}, "tcp") is None


def test_figures_of_nothing_are_null_and_not_zero() -> None:
    assert set(figures.nic_figures({}).values()) == {None}
    assert set(figures.qdisc_figures({}).values()) == {None}
    assert set(figures.wakeup_figures({}).values()) == {None}
    assert figures.drops_in({}, {}, "tcp") is None


def test_a_format_that_is_none() -> None:
    assert parse_format("name: x\n") is None


def segment(tmp_path: Path, about: dict[str, str], *pages: bytes) -> Segment:
    path = tmp_path / "tracepoints.seg"
    header = SegmentHeader(
        layout="frames",
        source="tracepoints",
        process="tracer",
        kinds=["cpu0", "stats"],
        about=about,
    )
    writer = SegmentWriter(create_partial(path), header)
    for page in pages:
        writer.frame(0, 0, page)
    writer.close()
    return Segment(path.with_name("tracepoints.seg.partial"))


@pytest.mark.parametrize(
    "changed",
    [
        {"page_bytes": None}, {"page_bytes": "many"}, {"page_bytes": "0"},
        {"page_bytes": "99999999999"}, {"formats": "[]"}, {"processes": "{"}, {"missing": "1"},
    ],
)  # fmt: skip
def test_a_header_that_does_not_describe_the_pages(
    tmp_path: Path, changed: dict[str, str | None]
) -> None:
    about = {"page_bytes": "4096", "formats": "{}", "processes": "[]", **changed}
    known = {name: text for name, text in about.items() if text is not None}
    with pytest.raises(RecordingError, match=r"tracepoints\.seg"):
        decode_tracepoints(segment(tmp_path, known))


@pytest.mark.parametrize("cut", [8, 24, 1001, 4000])
def test_damaged_pages_cost_themselves_alone(tmp_path: Path, cut: int) -> None:
    real = Segment(DATA / "loopback.seg")
    page = next(frame.payload for frame in real.frames() if frame.kind == "cpu0")
    trace = decode_tracepoints(segment(tmp_path, real.header.about, page[:cut], page))
    assert trace.events.height >= 77
    assert trace.lost_events is None
    assert trace.damage


def test_a_trace_that_was_cut_before_its_counts_knows_that_it_lost_some(tmp_path: Path) -> None:
    real = Segment(DATA / "loopback.seg")
    pages = [frame.payload for frame in real.frames() if frame.kind == "cpu0"]
    after_loss = pages[0][:11] + b"\x80" + pages[0][12:]
    about = real.header.about
    assert decode_tracepoints(segment(tmp_path, about, *pages)).lost_events is None
    assert decode_tracepoints(segment(tmp_path, about, *pages, after_loss)).lost_events == 1
