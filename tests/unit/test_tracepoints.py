"""Rule: what tracepoints say is read as the kernel itself reads it, is the run's or is left out,
and what is not known is null.

The trace of a real kernel in tests/data/tracepoints has three messages over one TCP connection.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from testbed.analysis.decode.trace_format import parse_format
from testbed.analysis.decode.tracepoints import RAW_SCHEMA, Trace, decode_tracepoints
from testbed.analysis.tracing import figures
from testbed.analysis.tracing.drops import drop_reasons, layer_of
from testbed.analysis.tracing.ownership import Names, Traced, kernel_events, marked, names_of
from testbed.analysis.tracing.receive_path import receive_paths
from testbed.analysis.tracing.wake_ups import wake_ups
from testbed.errors import RecordingError
from testbed.probes.tracepoints import EVENTS, TracedProcess, filters, lost_events
from testbed.recording.layout import create_partial
from testbed.recording.segments import Segment, SegmentHeader, SegmentWriter
from tests.support.data import pasted

DATA: Final = Path(__file__).resolve().parents[1] / "data" / "tracepoints"
TASK, RELAY, STRANGER = 20110, 7, 4711
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


def test_a_probe_without_a_packet_before_it_has_none() -> None:
    probe = {"event": "tcp:tcp_probe", "task": RELAY, "local_port": 8000}
    seen = packets_of(received(1, "server-eth0"), probe, probe, {**probe, "cpu": 1})
    assert [packet is None for packet in seen] == [False, False, True, True]


def test_a_poll_is_the_runs_when_its_softirq_is() -> None:
    def softirq(event: str, cpu: int) -> dict[str, Any]:
        return {"event": f"irq:softirq_{event}", "reason": "NET_RX", "cpu": cpu, "flags": 0x10}

    def poll(cpu: int) -> dict[str, Any]:
        return {"event": "napi:napi_poll", "cpu": cpu, "flags": 0x10}

    received_there = at("net:netif_receive_skb", 1, "server-eth0", cpu=1, flags=0x10)
    own = marked(
        raw(
            softirq("entry", 0), softirq("entry", 1), received_there, poll(0), poll(1),
            softirq("exit", 0), softirq("exit", 1), poll(1),
        ),
        NAMES,
    ).own  # fmt: skip
    assert own.filter(pl.col("event") == "napi:napi_poll")["place"].to_list() == [4]


def test_without_names_nothing_is_the_runs(trace: Trace) -> None:
    assert kernel_events(marked(trace, Names({}, {}))).height == 0
    foreign = marked(trace, Names({"lo": "server"}, {STRANGER: ("server", "server")}))
    # A packet that was seen in softirqs alone might be anybody's.
    packets = foreign.own.filter(pl.col("packet").is_not_null())
    assert set(packets["context"]) == {"softirq"}


def raw(*rows: dict[str, Any]) -> Trace:
    """A trace of these events, a microsecond apart, in system calls on CPU 0."""
    filled = [
        {"t_ns": 1000 * place, "cpu": 0, "flags": 0, "task": TASK, **row}
        for place, row in enumerate(rows)
    ]
    columns = {name: [row.get(name) for row in filled] for name in RAW_SCHEMA}
    return Trace(pl.DataFrame(columns, schema=RAW_SCHEMA), [], {}, 0)


NAMES: Final = Names(
    {"client-eth0": "client", "r1-eth0": "r1", "r1-eth1": "r1", "server-eth0": "server"},
    {TASK: ("server", "server"), RELAY: ("relay", "")},
)


def at(event: str, skb: int, name: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"event": event, "skb": skb, "name": name, **fields}


def received(skb: int, name: str, **fields: Any) -> dict[str, Any]:
    return at("net:netif_receive_skb", skb, name, task=RELAY, **fields)


def packets_of(*rows: dict[str, Any]) -> list[int | None]:
    return marked(raw(*rows), NAMES).events["packet"].to_list()


def test_a_router_forwards_in_the_same_buffer() -> None:
    seen = packets_of(
        received(1, "r1-eth0"),
        at("net:net_dev_queue", 1, "r1-eth1", task=RELAY),
        at("net:net_dev_start_xmit", 1, "r1-eth1", task=RELAY),
    )
    assert len(set(seen)) == 1


def test_a_veth_pair_hands_the_buffer_over() -> None:
    seen = packets_of(
        at("net:net_dev_start_xmit", 1, "client-eth0"),
        at("net:netif_rx", 1, "server-eth0"),
        at("net:net_dev_xmit", 1, "client-eth0"),
        at("net:netif_receive_skb", 1, "server-eth0"),
    )
    assert len(set(seen)) == 1


@pytest.mark.parametrize(
    "rows",
    [
        (received(1, "server-eth0"), received(1, "server-eth0")),
        (at("net:net_dev_xmit", 1, "server-eth0"), received(1, "r1-eth1")),
        (received(1, "server-eth0"), at("tcp:tcp_probe", 1), at("net:net_dev_queue", 1, "r1-eth0")),
        (received(1, "server-eth0"), at("net:net_dev_queue", 1, "server-eth0")),
        (at("skb:kfree_skb", 1), at("net:net_dev_queue", 1, "server-eth0")),
    ],
    ids=["received again", "read by the relay", "consumed by TCP", "answered", "dropped"],
)
def test_a_buffer_that_is_used_again_is_another_packet(rows: tuple[dict[str, Any], ...]) -> None:
    seen = packets_of(*rows)
    assert seen[-1] is not None
    assert seen[-1] != seen[0]


def test_what_happens_in_a_strangers_system_call_is_not_the_runs() -> None:
    trace = raw(
        at("net:net_dev_queue", 1, "server-eth0", task=STRANGER),
        at("qdisc:qdisc_enqueue", 1, task=STRANGER),
        at("net:net_dev_queue", 2, "server-eth0", task=STRANGER, flags=0x10),
    )
    own = marked(trace, NAMES).own
    assert own["skb"].to_list() == [2]


def test_a_buffer_that_goes_to_a_stranger_is_another_packet() -> None:
    # Where it began there is not seen: its interface is none of ours.
    trace = raw(
        received(1, "server-eth0"),
        at("tcp:tcp_probe", 1, task=STRANGER),
        at("skb:skb_copy_datagram_iovec", 1, task=STRANGER),
    )
    own = marked(trace, NAMES).own
    assert own["event"].to_list() == ["net:netif_receive_skb"]


def test_what_a_timer_sent_over_a_tap_device_is_of_whose_relay_read_it() -> None:
    def sent_by_timer(skb: int) -> list[dict[str, Any]]:
        events = ("net:net_dev_queue", "net:net_dev_start_xmit", "net:net_dev_xmit")
        return [at(event, skb, "server-eth0", task=STRANGER, flags=0x10) for event in events]

    names = Names(NAMES.node_of_interface, NAMES.processes, frozenset({"server-eth0"}))
    read = at("skb:skb_copy_datagram_iovec", 1, task=RELAY)
    trace = raw(*sent_by_timer(1), *sent_by_timer(2), read)
    traced = marked(trace, names)
    assert traced.own["skb"].unique().to_list() == [1]
    assert traced.foreign_packets == 1
    assert marked(trace, NAMES).foreign_packets == 0, "on a veth pair nobody can tell"


def test_children_and_threads_of_a_process_are_the_runs() -> None:
    trace = raw({"event": "sched:sched_process_fork", "previous": TASK, "subject": 99})
    trace.processes.append(
        msg_process(outer_id=TASK, name="server", kind="server", node="server", threads=[98])
    )
    manifest: Any = type("Built", (), {"nodes": [], "links": []})
    assert set(names_of(trace, manifest).processes) == {TASK, 98, 99}


def msg_process(**fields: Any) -> Any:
    from testbed.analysis.decode.tracepoints import TracedProcess as Read

    return Read(**fields)


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


READY: Final = {"event": "sock:sk_data_ready", "sk": 5, "task": RELAY}
CALLED: Final = {"event": "sock:sock_recv_length", "sk": 5}
WAKING: Final = {"event": "sched:sched_waking", "subject": TASK, "task": RELAY}
WOKEN: Final = {"event": "sched:sched_wakeup", "subject": TASK, "task": 0, "cpu": 1}
RUNS: Final = {
    "event": "sched:sched_switch", "subject": TASK, "previous": 0, "task": 0, "cpu": 1,
}  # fmt: skip


def wakes(*rows: dict[str, Any]) -> list[tuple[int | None, ...]]:
    table = wake_ups(marked(raw(CALLED, *rows), NAMES))
    return table.select("ready_ns", "woken_ns", "running_ns", "wakeup_ns").rows()


def test_a_wake_up() -> None:
    assert wakes(READY, WAKING, WOKEN, RUNS, CALLED) == [(1000, 3000, 4000, 3000)]


def test_a_switch_that_was_not_told_is_not_guessed() -> None:
    assert wakes(READY, WAKING, WOKEN, CALLED, RUNS) == [(1000, 3000, None, None)]


def test_without_sk_data_ready_a_segment_with_payload_stands_for_it() -> None:
    rows = (
        CALLED,
        received(1, "server-eth0"),
        at("tcp:tcp_probe", 1, task=RELAY, sk=5, length_bytes=99),
        WAKING, WOKEN, RUNS, CALLED,
        received(2, "server-eth0"),
        at("tcp:tcp_probe", 2, task=RELAY, sk=5, length_bytes=0),
        WAKING, WOKEN, RUNS,
    )  # fmt: skip
    old = raw(*rows)
    assert wake_ups(marked(old, NAMES)).height == 0
    old.missing["sock:sk_data_ready"] = "not in this kernel"
    assert wake_ups(marked(old, NAMES))["wakeup_ns"].to_list() == [3000]


def test_what_the_kernel_cannot_say_is_null_and_not_zero() -> None:
    tables = {"kernel_events": kernel_events(marked(raw(CALLED), NAMES))}
    assert figures.drops_in(tables, {}, "tcp") == {}
    assert figures.drops_in(tables, {"skb:kfree_skb": "not in this kernel"}, "tcp") is None


@pytest.mark.parametrize(
    "rows",
    [
        (READY, CALLED),
        (READY, received(1, "server-eth0"), WAKING),
        ({**READY, "sk": 6}, WAKING, RUNS),
    ],
    ids=["ran already", "woken for something else", "a stranger's socket"],
)
def test_what_is_no_wake_up(rows: tuple[dict[str, Any], ...]) -> None:
    assert wakes(*rows) == []


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


def test_filters_keep_to_the_run() -> None:
    processes = [
        TracedProcess(outer_id=11, name="server", kind="server", node="server", threads=[12]),
        TracedProcess(outer_id=13, name="relay", kind="relay", node=""),
    ]
    wanted = filters(["client-eth0", "r1-eth0"], processes, 8000)
    assert list(wanted) == list(EVENTS)
    assert wanted["net:netif_rx"] == 'name == "client-eth0" || name == "r1-eth0"'
    assert wanted["tcp:tcp_probe"] == "sport == 8000 || dport == 8000"
    assert wanted["sched:sched_waking"] == "pid == 11 || pid == 12"
    reads = [f"common_pid == {process}" for process in (11, 12, 13)]
    assert wanted["skb:skb_copy_datagram_iovec"] == " || ".join(reads)


def test_filters_without_processes_let_nothing_through() -> None:
    wanted = filters([], [], 8000)
    assert wanted["sched:sched_waking"] == "pid == -1"
    assert wanted["net:netif_rx"] == 'name == ""'


def test_a_filter_of_very_many_interfaces_has_room_in_a_page() -> None:
    names = [f"host{number}-eth0" for number in range(2000)]
    text = filters(names, [], 8000)["net:netif_rx"]
    assert 0 < len(text) < 4000
    starts = re.findall(r'name ~ "([^*]+)\*"', text)
    assert all(name.startswith(tuple(starts)) for name in names)


def test_lost_events_are_of_every_kind() -> None:
    stats = {"entries": 9, "overrun": 20, "commit overrun": 2, "dropped events": 1}
    assert lost_events(stats) == 23
