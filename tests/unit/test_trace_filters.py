"""Rule: what the kernel is told to trace keeps to the run, and what it lost is counted."""

from __future__ import annotations

import re

from testbed.probes.tracepoints import EVENTS, TracedProcess, filters, lost_events


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
