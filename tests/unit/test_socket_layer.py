"""The layer `socket` begins with the load: the testbed's own connections come before it."""

from __future__ import annotations

from typing import Any

import polars as pl

from testbed.analysis.decode.schema import schema_of
from testbed.analysis.evidence import Evidence
from testbed.analysis.following import Followed
from testbed.analysis.found import Found
from testbed.analysis.layers import layers
from testbed.analysis.summary import Layer
from testbed.analysis.topology import Topology
from testbed.events.socket import SocketSample
from tests.builders.recordings import MS, START, Run

LISTENER = {"cookie": 1, "state": "LISTEN", "local_address": "0.0.0.0", "send_queue": 100}
READINESS = {
    "cookie": 2,
    "state": "ESTABLISHED",
    "local_address": "127.0.0.1",
    "receive_queue": 517,
    "send_queue": 1500,
    "receive_allocated_bytes": 6000,
    "receive_buffer_bytes": 6000,
    "send_allocated_bytes": 4000,
    "send_buffer_bytes": 4000,
}
REQUEST = READINESS | {
    "cookie": 3,
    "local_address": "10.0.1.1",
    "receive_queue": 23,
    "send_queue": 42,
    "receive_allocated_bytes": 3000,
    "send_allocated_bytes": 1000,
}


def at(ms: int, sample: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"node": "server", "receive_queue": 0, "t_ns": START + ms * MS} | sample | more


def seen(*samples: dict[str, Any]) -> Layer:
    table = pl.DataFrame(samples, schema=schema_of(SocketSample), strict=False)
    manifest = Run().manifest(START + 1000 * MS)
    evidence = Evidence(manifest, Topology(manifest), tables={"socket": table})
    return layers(Found(evidence, [], [], Followed({}, {}, {}, {}), [], None))["socket"]


def test_what_was_before_the_load_is_in_no_peak() -> None:
    layer = seen(
        at(-20, LISTENER, receive_queue=1),
        at(-20, READINESS),
        at(-10, READINESS),
        at(0, LISTENER),
        at(10, REQUEST),
        at(20, REQUEST),
    )
    assert layer.backpressure is not None
    assert layer.backpressure["peak_unread_bytes"] == 23
    assert layer.backpressure["peak_unacknowledged_bytes"] == 42
    assert layer.backpressure["peak_receive_fill_ratio"] == 0.5
    assert layer.backpressure["peak_send_fill_ratio"] == 0.25
    assert layer.backpressure["time_receive_full_ns"] == 0
    assert layer.backpressure["time_send_full_ns"] == 0
    assert layer.backpressure["peak_accept_queue_connections"] == 0


def test_samples_from_before_the_load_alone_are_no_observation() -> None:
    assert seen(at(-10, LISTENER), at(-10, READINESS)).status == "not observed"
