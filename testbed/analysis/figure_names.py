"""The figures that each layer can have, by aspect, as `testbed.analysis.layers` names them.

For who must know them before there is a run. A test holds this table against an analysed recording,
and docs/reference/figures.md has the meaning of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FIGURES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "link": {
        "loss": (
            "sent_packets", "lost_packets", "lost_ratio", "queue_dropped_packets",
            "duplicated_packets", "corrupted_packets",
        ),
        "reordering": (
            "reordered_packets", "reordered_ratio", "reordering_extent_packets_max",
            "three_reordered_packets",
        ),
        "backpressure": (
            "peak_in_flight_packets", "relay_late_ns_p50", "relay_late_ns_p99",
            "relay_late_ns_max",
        ),
    },
    "nic": {
        "loss": (
            "rx_dropped_packets", "tx_dropped_packets", "rx_error_packets", "tx_error_packets",
            "drop_reasons",
        ),
        "backpressure": (
            "received_in_softirq_packets", "received_in_process_packets",
            "softirq_receive_latency_ns_p50", "softirq_receive_latency_ns_p99",
            "softirq_transmit_latency_ns_p50", "softirq_transmit_latency_ns_p99",
            "interrupt_to_socket_ns_p50", "interrupt_to_socket_ns_p99",
        ),
    },
    "qdisc": {
        "loss": (
            "dropped_packets", "drop_reasons",
        ),
        "reordering": (
            "reordered_packets",
        ),
        "backpressure": (
            "peak_queue_packets", "peak_queue_bytes", "time_waiting_ns", "overlimits", "requeues",
            "node_transit_ns_p50", "node_transit_ns_p99", "node_transit_ns_max", "sojourn_ns_p50",
            "sojourn_ns_p99", "sojourn_ns_max",
        ),
    },
    "ip": {
        "loss": (
            "in_discards_packets", "out_discards_packets", "in_header_errors_packets",
            "in_address_errors_packets", "out_no_routes_packets", "reassembly_fails_packets",
            "drop_reasons", "in_checksum_error_packets",
        ),
        "reordering": (
            "reordered_packets", "reordered_ratio", "reordering_extent_packets_max",
            "three_reordered_packets",
        ),
        "backpressure": (
            "in_ce_packets",
        ),
    },
    "tcp": {
        "loss": (
            "retransmitted_segments", "retransmissions_explained_by_loss",
            "retransmissions_explained_by_corruption", "spurious_retransmissions",
            "unexplained_retransmissions", "kernel_retransmitted_segments",
            "fast_retransmissions", "slow_start_retransmissions", "timeouts", "loss_probes",
            "lost_retransmissions", "syn_retransmissions", "in_error_segments",
            "checksum_error_segments", "receive_queue_dropped_packets",
            "out_of_order_dropped_packets", "backlog_dropped_packets", "receive_pruned",
            "drop_reasons",
        ),
        "reordering": (
            "spurious_retransmissions_by_reordering", "out_of_order_segments",
            "duplicate_segments", "duplicate_acks", "kernel_out_of_order_segments",
            "sack_reorderings", "timestamp_reorderings", "dsacks_received", "dsacks_sent",
            "dsack_undos", "spurious_timeouts",
        ),
        "backpressure": (
            "zero_window_segments", "zero_windows_advertised", "zero_windows_reopened",
            "zero_windows_wanted", "receive_collapsed_packets", "window_probes", "busy_ns",
            "receive_window_limited_ns", "send_buffer_limited_ns", "peak_not_sent_bytes",
        ),
    },
    "socket": {
        "loss": (
            "dropped_packets", "accept_queue_overflows", "listen_dropped_packets",
            "request_queue_full_drops", "drop_reasons",
        ),
        "backpressure": (
            "peak_receive_fill_ratio", "time_receive_full_ns", "peak_unread_bytes",
            "peak_send_fill_ratio", "time_send_full_ns", "peak_unacknowledged_bytes",
            "peak_accept_queue_connections", "time_accept_queue_full_ns",
            "descriptors_in_use_most", "descriptor_limit", "descriptors_in_use_most_process",
        ),
    },
    "syscall": {
        "loss": (
            "system_calls", "failed_calls", "errors",
        ),
        "backpressure": (
            "time_waiting_writable_ns", "short_writes", "again_calls", "client_calls_per_request",
            "server_calls_per_request", "time_inside_ns", "per_send_bytes_p50",
            "per_send_bytes_p99", "per_recv_bytes_p50", "per_recv_bytes_p99",
            "time_waiting_readable_ns", "time_waiting_connected_ns", "cancelled_waits", "calls",
            "wakeup_ns_p50", "wakeup_ns_p99", "wakeup_ns_max", "wakeups", "unseen_switches",
        ),
    },
    "event_loop": {
        "backpressure": (
            "longest_step_ns", "longest_step_process", "lag_ns_p50", "lag_ns_p99", "lag_ns_max",
            "time_runnable_ns", "peak_runnable_tasks", "busy_ratio_max",
        ),
    },
    "asgi": {
        "loss": (
            "requests", "disconnected_requests", "failed_requests", "error_responses",
            "client_error_responses",
        ),
        "backpressure": (
            "peak_in_flight_requests", "receive_wait_ns", "receive_wait_ns_p50",
            "receive_wait_ns_p99", "receive_wait_ns_max", "send_wait_ns", "send_wait_ns_p50",
            "send_wait_ns_p99", "send_wait_ns_max",
        ),
    },
    "http": {
        "loss": (
            "requests", "failed_requests", "failures",
        ),
        "reordering": (
            "overtaken_responses",
        ),
        "backpressure": (
            "peak_in_flight_requests", "pool_wait_ns_p50", "pool_wait_ns_p99", "connect_ns_p50",
            "connect_ns_p99", "send_ns_p50", "send_ns_p99", "first_byte_ns_p50",
            "first_byte_ns_p99", "receive_ns_p50", "receive_ns_p99", "late_ns_p50", "late_ns_p99",
        ),
    },
}  # fmt: skip
"""Layer -> aspect -> names; an aspect that a layer does not have by its nature is not there."""
