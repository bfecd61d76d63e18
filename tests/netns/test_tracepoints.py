"""Rule: what the kernel did 23 times is seen 23 times and with its reason; what the rings lose is
counted; without root nothing of it is claimed; and no instance is left, however a run ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from testbed import Load, Recording, Scenario, run
from testbed.analysis.analyse import load_summary
from testbed.analysis.decode.tracepoints import Trace, decode_tracepoints
from testbed.analysis.tracing.drops import drop_reasons
from testbed.analysis.tracing.ownership import Names, kernel_events, marked
from testbed.analysis.tracing.tables import TABLES
from testbed.recording.layout import Layout
from testbed.recording.segments import Segment
from testbed.sandbox.tracing import instance_kept
from tests.support.people import REPOSITORY, as_ordinary_user, environment, home_of_ordinary_user
from tests.support.process_table import MARK, marked_by_command
from tests.support.runs import manifest_of, run_argv
from tests.support.sandboxes import in_sandbox
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="tracepoints need real root")

RUN_S = 120.0
LOAD_S = 60.0
GONE_S = 15.0
"""For a watcher to remove its instance; it takes 50 ms when nobody else has the CPU."""


@pytest.fixture(autouse=True)
def instance() -> Iterator[str]:
    """An instance of this test's own."""
    with instance_kept() as access:
        if not access.instance:
            pytest.skip(access.reason)
        yield access.instance


def instances() -> list[str]:
    """Names of all instances in tracefs; a process of its own may have to mount it."""
    program = (
        "from testbed.sandbox import tracefs; "
        "print(*(p.name for p in (tracefs.mounted() / 'instances').iterdir()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def traced(
    tmp_path: Path, instance: str, does: str, **more: Any
) -> tuple[Trace, dict[str, Any], Names]:
    """What was seen of something that the lab does, and what the kernel counted."""
    segment = tmp_path / "tracepoints.seg"
    told = {"instance": instance, "segment": str(segment), "does": does, **more}
    done = in_sandbox([sys.executable, "-m", "tests.support.trace_lab", json.dumps(told)])
    assert done.returncode == 0, done.stderr
    trace = decode_tracepoints(Segment(segment))
    assert trace.damage == []
    processes = {one.outer_id: (one.name, one.node) for one in trace.processes}
    return trace, json.loads(done.stdout), Names({"v0": "v0", "v1": "v1"}, processes)


def test_23_packets_that_a_full_queue_drops(tmp_path: Path, instance: str) -> None:
    trace, counts, names = traced(tmp_path, instance, "full_queue")
    assert (counts["dropped"], trace.lost_events) == (23, 0)
    table = kernel_events(marked(trace, names))
    assert sum(drop_reasons(table)["qdisc"].values()) == 23
    drops = table.filter(pl.col("reason").str.starts_with("QDISC_"))
    assert drops["interface"].unique().to_list() == ["v0"]


def test_23_segments_with_a_bad_checksum(tmp_path: Path, instance: str) -> None:
    trace, counts, names = traced(tmp_path, instance, "bad_checksums")
    assert (counts["counted"], trace.lost_events) == (23, 0)
    table = kernel_events(marked(trace, names))
    reasons = drop_reasons(table)
    assert reasons["tcp"] == {"TCP_CSUM": 23}
    assert table.filter(pl.col("event") == "tcp:tcp_bad_csum").height == 23
    received = table.filter(
        (pl.col("event") == "net:netif_receive_skb") & (pl.col("interface") == "v1")
    )
    assert received.height == 28
    assert received["context"].unique().to_list() == ["softirq"]


def test_23_packets_with_a_bad_header(tmp_path: Path, instance: str) -> None:
    trace, counts, names = traced(tmp_path, instance, "bad_headers")
    assert (counts["counted"], trace.lost_events) == (23, 0)
    reasons = drop_reasons(kernel_events(marked(trace, names)))
    assert reasons["ip"] == {"IP_CSUM": 23, "NO_SOCKET": 5}


def test_23_frames_for_somebody_else(tmp_path: Path, instance: str) -> None:
    trace, _, names = traced(tmp_path, instance, "others")
    assert trace.lost_events == 0
    reasons = drop_reasons(kernel_events(marked(trace, names)))
    assert reasons["nic"] == {"OTHERHOST": 23}


def test_what_the_smallest_ring_loses_is_counted(tmp_path: Path, instance: str) -> None:
    trace, counts, _ = traced(tmp_path, instance, "flood", ring_kib=8)
    overruns = sum(cpu["overrun"] for cpu in counts["stats"].values())
    assert overruns > 3000
    assert trace.lost_events is not None
    assert trace.lost_events >= overruns


def test_a_run_sees_the_way_of_its_packets(shared_run: Recording) -> None:
    summary = shared_run.summary
    events = {name: pl.read_parquet(Layout(shared_run.root).events(name)) for name in TABLES}
    assert all(table.height for name, table in events.items() if name != "softirqs")
    nic = summary.layers["nic"].backpressure or {}
    (tracer,) = [p for p in manifest_of(shared_run.root).processes if p.kind == "tracer"]
    if "missing sock:sk_data_ready" in tracer.about:  # before Linux 6.3
        assert nic["interrupt_to_socket_ns_p99"] is None
    else:
        assert 0 < nic["interrupt_to_socket_ns_p50"] <= nic["interrupt_to_socket_ns_p99"]
    assert nic["received_in_process_packets"] == sum(
        way.delivered_packets or 0 for link in summary.links.values() for way in link.values()
    )
    syscall = summary.layers["syscall"]
    assert syscall.status == "observed"
    assert (syscall.backpressure or {})["wakeups"] > 0
    (check,) = [r for r in summary.verdict.reasons if r.check == "trace ring overruns"]
    assert (check.status, check.value) == ("faithful", 0)


def test_every_packet_of_a_run_is_in_its_trace(shared_run: Recording) -> None:
    events = pl.read_parquet(Layout(shared_run.root).events("kernel_events"))
    packets = pl.read_parquet(Layout(shared_run.root).events("packets"))
    received = events.filter(pl.col("event") == "net:netif_receive_skb")
    sent = events.filter(pl.col("event") == "net:net_dev_start_xmit")
    seen = {
        name: (
            received.filter(pl.col("interface") == name).height,
            sent.filter(pl.col("interface") == name).height,
        )
        for name in ("client-eth0", "r1-eth0", "r1-eth1", "server-eth0")
    }
    captured = {
        name: (
            packets.filter((pl.col("interface") == name) & ~pl.col("outgoing")).height,
            packets.filter((pl.col("interface") == name) & pl.col("outgoing")).height,
        )
        for name in seen
    }
    assert seen == captured


def test_a_veth_pair_hands_packets_over_in_a_softirq(tmp_path: Path) -> None:
    topology = tmp_path / "plain.py"
    topology.write_text(
        "from mininet.topo import Topo\n"
        "class Plain(Topo):\n"
        "    def build(self):\n"
        "        self.addHost('client', role='client')\n"
        "        self.addHost('server', role='server')\n"
        "        self.addSwitch('s1')\n"
        "        self.addLink('client', 's1')\n"
        "        self.addLink('s1', 'server')\n",
        encoding="utf-8",
    )
    recording = run(
        Scenario(topology=f"{topology}:Plain", load=Load(requests=23), seed=7), tmp_path / "out"
    )
    nic = recording.summary.layers["nic"].backpressure or {}
    assert nic["received_in_process_packets"] == 0
    assert nic["received_in_softirq_packets"] > 4 * 23
    assert 0 < nic["softirq_receive_latency_ns_p50"] <= nic["softirq_receive_latency_ns_p99"]
    paths = pl.read_parquet(Layout(recording.root).events("receive_path"))
    assert paths["start"].unique().to_list() == ["netif_rx"]
    assert (paths["softirq_ns"] <= paths["received_ns"]).all()


def test_without_root_nothing_is_claimed() -> None:
    with home_of_ordinary_user() as home:
        done = subprocess.run(
            as_ordinary_user(run_argv(home / "out", 20)),
            cwd=home,
            env=environment(HOME=str(home), TMPDIR=str(home)),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=RUN_S,
        )  # fmt: skip
        assert done.returncode in (0, 5), done.stderr
        summary = load_summary(home / "out")
        assert manifest_of(home / "out").warnings == []
    syscall = summary.layers["syscall"]
    assert syscall.status == "observed"
    assert (syscall.backpressure or {})["wakeups"] is None
    for layer in ("nic", "qdisc", "ip", "tcp", "socket"):
        assert (summary.layers[layer].loss or {})["drop_reasons"] is None
    assert not [r for r in summary.verdict.reasons if r.check == "trace ring overruns"]


def test_a_run_that_is_killed_leaves_no_instance(tmp_path: Path) -> None:
    process = subprocess.Popen(
        run_argv(tmp_path / "out", 1_000_000), cwd=tmp_path, env=environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    mine = f"-{process.pid}-"
    try:
        eventually(
            lambda: (
                (tmp_path / "out" / "manifest.json").is_file()
                and manifest_of(tmp_path / "out").load_started_ns is not None
            ),
            within_s=LOAD_S,
            what="the load has started",
        )
        assert [name for name in instances() if mine in name]
    finally:
        process.kill()
        process.wait()
    eventually(
        lambda: not [name for name in instances() if mine in name],
        within_s=GONE_S,
        what="no instance",
    )


def test_what_a_killed_watcher_leaves_is_reaped_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MARK, "reaped")
    program = (
        "import sys; from testbed.sandbox.tracing import instance_kept\n"
        "with instance_kept() as access: print(access.instance, flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program], env=environment(), cwd=REPOSITORY,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout is not None
    name = owner.stdout.readline().strip()
    (watcher,) = marked_by_command("reaped", "testbed.sandbox.trace_watch ")
    os.kill(watcher, signal.SIGKILL)
    with instance_kept():
        assert name in instances(), "its owner lives: it is in use"
    owner.kill()
    owner.communicate()
    assert name in instances()
    with instance_kept():
        assert name not in instances()
