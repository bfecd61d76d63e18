"""Rule: a data segment is a TCP packet with a payload; padding and pure ACKs are none."""

from __future__ import annotations

from typing import Final

import pytest

from testbed.network.relay.flows import SegmentCounter, data_flow
from testbed.scenario.impairments import Segments
from tests.builders.frames import ethernet, ipv4, ipv6, tcp

A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"
DATA: Final = tcp(40000, 8000, 1, payload=b"x" * 100, options=b"\x01" * 12)
V4: Final = ethernet(A, B, 0x0800, ipv4("10.0.0.1", "10.0.1.1", 6, DATA))
V6: Final = ethernet(A, B, 0x86DD, ipv6("fd00::1", "fd00::2", 6, DATA))


@pytest.mark.parametrize("frame", [pytest.param(V4, id="IPv4"), pytest.param(V6, id="IPv6")])
def test_a_flow_is_its_addresses_and_ports(frame: bytes) -> None:
    flow = data_flow(frame)
    assert flow is not None
    assert flow.endswith(bytes.fromhex("9c401f40"))  # 40000, 8000
    assert data_flow(frame[:6] + b"\0" * 6 + frame[12:]) == flow  # whatever the MAC addresses


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(ethernet(A, B, 0x0806, bytes(28)), id="ARP"),
        pytest.param(ethernet(A, B, 0x0800, ipv4("1.1.1.1", "2.2.2.2", 17, DATA)), id="UDP"),
        pytest.param(
            ethernet(A, B, 0x0800, ipv4("1.1.1.1", "2.2.2.2", 6, tcp(1, 2, 3))).ljust(60, b"\0"),
            id="an ACK, padded to the shortest frame",
        ),
        pytest.param(
            ethernet(A, B, 0x0800, ipv4("1.1.1.1", "2.2.2.2", 6, DATA, fragment=185)),
            id="a later fragment has no TCP header",
        ),
        pytest.param(V4[:40], id="cut"),
        pytest.param(V4[:14], id="no IP header"),
    ],
)
def test_what_is_no_data_segment(frame: bytes) -> None:
    assert data_flow(frame) is None


def test_options_of_ip_are_skipped() -> None:
    packet = ipv4("1.1.1.1", "2.2.2.2", 6, tcp(40000, 8000, 1, payload=b"x"), options=b"\x01" * 8)
    flow = data_flow(ethernet(A, B, 0x0800, packet))
    assert flow is not None
    assert flow.endswith(bytes.fromhex("9c401f40"))


def test_each_flow_is_counted_by_itself() -> None:
    counter = SegmentCounter(Segments(ordinals=(1, 3)))
    back = ethernet(B, A, 0x0800, ipv4("10.0.1.1", "10.0.0.1", 6, DATA))
    assert [counter.is_lost(frame) for frame in (V4, V4, back, V4, back, back, V4)] == [
        True, False, True, True, False, True, False,
    ]  # fmt: skip
