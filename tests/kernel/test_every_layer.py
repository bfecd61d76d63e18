"""Rule: on Debian's kernel every layer is observed too, without kprobes; what its tracepoints lack
is named; and requests are followed through all of it, over netem's wire and over the relay's.
"""

from __future__ import annotations

from typing import Final

import polars as pl
import pytest

from testbed.events import LAYERS
from testbed.recording.layout import Layout
from tests.support.kernel_runs import CommandLineRun
from tests.support.runs import manifest_of

LACKING: Final = ("sock:sk_data_ready", "sock:sock_send_length", "sock:sock_recv_length")
"""Only since Linux 6.3."""


@pytest.fixture(params=["kernel", "relay"])
def any_run(request: pytest.FixtureRequest) -> CommandLineRun:
    found: CommandLineRun = request.getfixturevalue(f"{request.param}_run")
    return found


def table(seen: CommandLineRun, name: str) -> pl.DataFrame:
    return pl.read_parquet(Layout(seen.root).events(name))


def test_all_ten_layers_are_observed(any_run: CommandLineRun) -> None:
    layers = any_run.summary.layers
    assert list(layers) == list(LAYERS)
    assert {
        name: layer.reason for name, layer in layers.items() if layer.status != "observed"
    } == {}


def test_tracepoints_that_this_kernel_lacks_are_named(any_run: CommandLineRun) -> None:
    tracer = next(p for p in manifest_of(any_run.root).processes if p.kind == "tracer")
    assert tracer.about["events"] != 0
    missing = {
        name.removeprefix("missing ") for name in tracer.about if name.startswith("missing ")
    }
    assert missing >= set(LACKING)
    assert tracer.about["overruns"] == 0


def test_the_kernels_own_events_are_in_the_recording(any_run: CommandLineRun) -> None:
    seen = set(table(any_run, "kernel_events")["event"].unique())
    assert {"net:netif_receive_skb", "net:net_dev_queue", "tcp:tcp_probe"} <= seen
    qdisc = any_run.summary.layers["qdisc"].backpressure or {}
    assert qdisc["sojourn_ns_p50"] > 0


def test_on_netems_links_packets_come_by_softirqs(kernel_run: CommandLineRun) -> None:
    nic = kernel_run.summary.layers["nic"].backpressure or {}
    assert nic["received_in_softirq_packets"] > 0
    assert nic["received_in_process_packets"] == 0
    assert nic["softirq_receive_latency_ns_p50"] > 0


def test_requests_are_followed_through_all_layers(any_run: CommandLineRun) -> None:
    journeys = any_run.summary.journeys
    assert journeys is not None
    assert journeys.requests == any_run.summary.http.completed
    assert journeys.explained_requests_ratio is not None
    assert journeys.explained_requests_ratio >= 0.99
    stages, requests = table(any_run, "journeys"), table(any_run, "http")
    sums = stages.group_by("request_id").agg(pl.col("duration_ns").sum())
    both = requests.join(sums, on="request_id")
    assert both.height == requests.height
    assert (both["latency_ns"] == both["duration_ns"]).all()


def test_the_ledger_balances_up_to_the_application(any_run: CommandLineRun) -> None:
    rows = {row.what: row for row in any_run.summary.ledger.rows}
    for what in ("application to tcp: written bytes", "tcp to application: read bytes"):
        assert (rows[what].balanced, rows[what].difference) == (True, 0)
    assert rows["http: requests to the application"].left == any_run.summary.http.requests
