"""The layers of a run of single_bottleneck, as its summary has them."""

from __future__ import annotations

from testbed.analysis.summary import Layer

MS = 1_000_000
S = 1_000_000_000

LAYERS: dict[str, Layer] = {
    "link": Layer(
        status="observed",
        loss={"sent_packets": 21_305, "lost_packets": 421, "lost_ratio": 421 / 21_305},
        reordering={
            "reordered_packets": 0,
            "reordered_ratio": 0.0,
            "reordering_extent_packets_max": 0,
        },
        backpressure={
            "peak_in_flight_packets": 92,
            "relay_late_ns_p50": 31_000,
            "relay_late_ns_p99": 84_000,
            "relay_late_ns_max": 911_000,
        },
    ),
    "nic": Layer(
        status="observed",
        loss={"rx_dropped_packets": 0, "tx_dropped_packets": 0},
        reordering=None,
        backpressure=None,
    ),
    "qdisc": Layer(
        status="observed",
        loss={"dropped_packets": 41},
        reordering={"reordered_packets": 0},
        backpressure={
            "peak_queue_packets": 50,
            "peak_queue_bytes": 75_700,
            "time_waiting_ns": 2_110 * MS,
            "overlimits": 11_820,
            "requeues": 0,
        },
    ),
    "ip": Layer(
        status="observed",
        loss={"in_discards_packets": 0, "out_no_routes_packets": 0},
        reordering=None,
        backpressure={"in_ce_packets": None},
    ),
    "tcp": Layer(
        status="observed",
        loss={
            "retransmitted_segments": 341,
            "retransmissions_explained_by_loss": 338,
            "spurious_retransmissions": 3,
            "unexplained_retransmissions": 0,
            "timeouts": 1,
        },
        reordering={"out_of_order_segments": 1_204, "duplicate_acks": 977, "sack_reorderings": 0},
        backpressure={
            "zero_window_segments": 0,
            "busy_ns": 4 * S,
            "receive_window_limited_ns": 0,
            "send_buffer_limited_ns": 14 * MS,
            "peak_not_sent_bytes": None,
        },
    ),
    "socket": Layer(
        status="observed",
        loss={"dropped_packets": 0, "accept_queue_overflows": 0},
        backpressure={
            "peak_receive_fill_ratio": 0.12,
            "peak_unread_bytes": 64_240,
            "peak_accept_queue_connections": 1,
        },
    ),
    "syscall": Layer(status="not observed", reason="switched off (--probes light)"),
    "event_loop": Layer(
        status="observed",
        backpressure={
            "longest_step_ns": 9 * MS,
            "longest_step_process": "server",
            "lag_ns_p50": 41_000,
            "lag_ns_p99": 2_310_000,
            "lag_ns_max": 9_020_000,
        },
    ),
    "asgi": Layer(
        status="observed",
        loss={"requests": 200, "disconnected_requests": 2, "failed_requests": 1},
        backpressure={
            "peak_in_flight_requests": 4,
            "send_wait_ns": 4_310 * MS,
            "send_wait_ns_p50": 20 * MS,
            "send_wait_ns_p99": 260 * MS,
        },
    ),
    "http": Layer(
        status="observed",
        loss={
            "requests": 200,
            "failed_requests": 3,
            "failures": {"ReadTimeout": 2, "HTTP 503": 1},
        },
        reordering={"overtaken_responses": 12},
        backpressure={
            "peak_in_flight_requests": 4,
            "pool_wait_ns_p50": 0,
            "pool_wait_ns_p99": 1_200_000,
        },
    ),
}
