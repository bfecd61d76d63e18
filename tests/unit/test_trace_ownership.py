"""Rule: an event of the kernel is the run's only where that is known, and one packet's."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from testbed.analysis.tracing.ownership import Names, marked, names_of
from tests.builders.traced import NAMES, RELAY, STRANGER, TASK, at, raw, received


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
