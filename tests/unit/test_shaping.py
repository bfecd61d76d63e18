"""Rule: tc is asked for exactly the capacity and the queue of the plan, and what reads back as
anything else is an error that names the interface, what was wanted and what was got.

Real output of tc is in tests/data.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from testbed.errors import ReadBackError
from testbed.network.shaping import FRAME_BYTES, burst_bytes, check_read_back, tc_commands
from testbed.recording.manifest import Direction
from tests.support.data import pasted

BARE = Direction(
    sender="r1", sender_interface="v0", receiver="server", receiver_interface="server-eth0"
)


def shaped(capacity_bit_s: int | None, **queue: int) -> Direction:
    return msgspec.structs.replace(BARE, capacity_bit_s=capacity_bit_s, **queue)


def qdiscs(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(pasted(name))
    return found


def test_a_capacity_is_an_htb_class_with_the_queue_below_it() -> None:
    assert tc_commands(shaped(10_000_000, queue_packets=50)) == [
        "qdisc add dev v0 root handle 1: htb default 10",
        "class add dev v0 parent 1: classid 1:10 htb rate 10000000bit ceil 10000000bit "
        "burst 1514 cburst 1514 quantum 1514",
        "qdisc add dev v0 parent 1:10 handle 10: pfifo limit 50",
    ]


def test_a_queue_in_bytes_is_a_bfifo() -> None:
    assert tc_commands(shaped(10_000_000, queue_bytes=65536))[-1] == (
        "qdisc add dev v0 parent 1:10 handle 10: bfifo limit 65536"
    )


def test_without_a_capacity_there_is_a_plain_queue_of_known_length() -> None:
    assert tc_commands(shaped(None)) == ["qdisc add dev v0 root handle 1: pfifo limit 1000"]


@pytest.mark.parametrize(
    ("capacity_bit_s", "expected"),
    [
        pytest.param(1_000, FRAME_BYTES, id="never less than a frame"),
        pytest.param(48_448_000, FRAME_BYTES, id="a frame in 250 us exactly"),
        pytest.param(100_000_000, 3_125, id="100 Mbit/s for 250 us"),
        pytest.param(2_500_000_000, 78_125, id="2.5 Gbit/s for 250 us"),
    ],
)
def test_the_burst_is_what_the_capacity_carries_in_250_us(
    capacity_bit_s: int, expected: int
) -> None:
    assert burst_bytes(capacity_bit_s) == expected


@pytest.mark.parametrize(
    ("way", "qdisc_file", "class_file"),
    [
        pytest.param(
            shaped(10_000_000, queue_packets=50),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            id="round rate",
        ),
        pytest.param(
            shaped(1_234_567, queue_bytes=65536),
            "tc_qdisc_htb_bfifo.txt",
            "tc_class_1234567bit.txt",
            id="tc prints whole thousands",
        ),
        pytest.param(
            shaped(999, queue_packets=50),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_999bit.txt",
            id="tc counts whole bytes per second",
        ),
        pytest.param(
            shaped(2_500_000_000, queue_packets=50),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_2500mbit.txt",
            id="gigabits",
        ),
    ],
)
def test_what_tc_reads_back_after_a_good_setting_is_accepted(
    way: Direction, qdisc_file: str, class_file: str
) -> None:
    check_read_back(way, qdiscs(qdisc_file), pasted(class_file))


def test_a_plain_queue_reads_back() -> None:
    check_read_back(shaped(None), qdiscs("tc_qdisc_pfifo.txt"), "")


@pytest.mark.parametrize(
    ("way", "qdisc_file", "class_file", "message"),
    [
        pytest.param(
            shaped(10_020_000, queue_packets=50),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: capacity in bit/s was set to 10020000 and reads back as 10000000",
            id="a rate that is 0.2 % off",
        ),
        pytest.param(
            shaped(10_000_000, queue_packets=51),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: pfifo limit was set to 51 and reads back as 50",
            id="a queue that is one packet off",
        ),
        pytest.param(
            shaped(1_234_567, queue_bytes=65537),
            "tc_qdisc_htb_bfifo.txt",
            "tc_class_1234567bit.txt",
            "v0: bfifo limit was set to 65537 and reads back as 65536",
            id="a queue that is one byte off",
        ),
        pytest.param(
            shaped(10_000_000, queue_bytes=50),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: bfifo limit was set to 50 and reads back as None",
            id="the other kind of queue",
        ),
        pytest.param(
            shaped(10_000_000, queue_packets=50),
            "tc_qdisc_htb_pfifo.txt",
            "tc_qdisc_pfifo.txt",
            "v0: capacity in bit/s was set to 10000000 and reads back as None",
            id="no class",
        ),
        pytest.param(
            shaped(10_000_000, queue_packets=50),
            "tc_qdisc_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: expected an htb qdisc 1: (got [('pfifo', '1:')])",
            id="no htb",
        ),
        pytest.param(
            shaped(None),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: pfifo limit was set to 1000 and reads back as None",
            id="shaped although it should not be",
        ),
    ],
)
def test_anything_else_is_an_error_with_both_values(
    way: Direction, qdisc_file: str, class_file: str, message: str
) -> None:
    with pytest.raises(ReadBackError) as caught:
        check_read_back(way, qdiscs(qdisc_file), pasted(class_file))
    assert str(caught.value) == message
    assert caught.value.where == "v0"
