"""Rule: tc is asked for exactly the capacity and the queue of the plan, and what reads back as
anything else is an error that names the interface, what was wanted and what was got.

Real output of tc is in tests/data.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from testbed.errors import ReadBackError, ScenarioError
from testbed.network.queues import FRAME_BYTES
from testbed.network.shaping import (
    burst_bytes,
    change_refusals,
    check_read_back,
    kinds,
    tc_change_commands,
    tc_commands,
)
from testbed.recording.manifest import Direction
from testbed.scenario.impairments import Trace
from testbed.scenario.notation import parse_queue
from tests.support.data import pasted

BARE = Direction(
    sender="r1", sender_interface="v0", receiver="server", receiver_interface="server-eth0"
)


def shaped(capacity_bit_s: int | None, queue: str | None = None) -> Direction:
    return msgspec.structs.replace(
        BARE, capacity_bit_s=capacity_bit_s, queue=parse_queue(queue) if queue else None
    )


def qdiscs(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(pasted(name))
    return found


def test_a_capacity_is_an_htb_class_with_the_queue_below_it() -> None:
    assert tc_commands(shaped(10_000_000, "50p")) == [
        "qdisc add dev v0 root handle 1: htb default 10",
        "class add dev v0 parent 1: classid 1:10 htb rate 10000000bit ceil 10000000bit "
        "burst 1514 cburst 1514 quantum 1514",
        "qdisc add dev v0 parent 1:10 handle 10: pfifo limit 50",
    ]


def test_a_queue_in_bytes_is_a_bfifo() -> None:
    assert tc_commands(shaped(10_000_000, "65536B"))[-1] == (
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
            shaped(10_000_000, "50p"),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            id="round rate",
        ),
        pytest.param(
            shaped(1_234_567, "65536B"),
            "tc_qdisc_htb_bfifo.txt",
            "tc_class_1234567bit.txt",
            id="tc prints whole thousands",
        ),
        pytest.param(
            shaped(999, "50p"),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_999bit.txt",
            id="tc counts whole bytes per second",
        ),
        pytest.param(
            shaped(2_500_000_000, "50p"),
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
            shaped(10_020_000, "50p"),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: capacity in bit/s was set to 10020000 and reads back as 10000000",
            id="a rate that is 0.2 % off",
        ),
        pytest.param(
            shaped(10_000_000, "51p"),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: pfifo limit was set to 51 and reads back as 50",
            id="a queue that is one packet off",
        ),
        pytest.param(
            shaped(1_234_567, "65537B"),
            "tc_qdisc_htb_bfifo.txt",
            "tc_class_1234567bit.txt",
            "v0: bfifo limit was set to 65537 and reads back as 65536",
            id="a queue that is one byte off",
        ),
        pytest.param(
            shaped(10_000_000, "50B"),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: expected a bfifo qdisc 10: (got [('htb', '1:'), ('pfifo', '10:')])",
            id="the other kind of queue",
        ),
        pytest.param(
            shaped(10_000_000, "50p"),
            "tc_qdisc_htb_pfifo.txt",
            "tc_qdisc_pfifo.txt",
            "v0: capacity in bit/s was set to 10000000 and reads back as None",
            id="no class",
        ),
        pytest.param(
            shaped(10_000_000, "50p"),
            "tc_qdisc_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: expected an htb qdisc 1: (got [('pfifo', '1:')])",
            id="no htb",
        ),
        pytest.param(
            shaped(None),
            "tc_qdisc_htb_pfifo.txt",
            "tc_class_10mbit.txt",
            "v0: expected a pfifo qdisc 1: (got [('htb', '1:'), ('pfifo', '10:')])",
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


TRACED = msgspec.structs.replace(
    shaped(12_000_000, "50p"),
    trace=Trace(name="x", opportunities=1, period_ms=1, sha256=""),
)


def test_a_trace_shapes_on_the_wire_and_not_at_the_sender() -> None:
    assert tc_commands(TRACED) == ["qdisc add dev v0 root handle 1: pfifo limit 1000"]
    assert kinds(TRACED) == ()
    check_read_back(TRACED, qdiscs("tc_qdisc_pfifo.txt"), "")


def test_a_capacity_without_a_queue_is_no_direction() -> None:
    with pytest.raises(ValueError, match="v0: a capacity without a queue"):
        tc_commands(shaped(1_000_000))


def test_the_kinds_that_the_kernel_must_have() -> None:
    assert kinds(shaped(None)) == ()
    assert kinds(shaped(10**6, "50p")) == ("htb",)
    assert kinds(shaped(10**6, "codel ecn")) == ("htb", "codel")


CLASS = "class change dev v0 parent 1: classid 1:10 htb rate"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(shaped(10**7, "50p"), shaped(10**7, "50p"), [], id="nothing"),
        pytest.param(shaped(None), shaped(None), [], id="nothing to shape"),
        pytest.param(TRACED, TRACED, [], id="a trace"),
        pytest.param(
            shaped(10**7, "50p"),
            shaped(2 * 10**8, "50p"),
            [f"{CLASS} 200000000bit ceil 200000000bit burst 6250 cburst 6250 quantum 1514"],
            id="capacity",
        ),
        pytest.param(
            shaped(10**7, "50p"),
            shaped(10**7, "10p"),
            ["qdisc change dev v0 parent 1:10 handle 10: pfifo limit 10"],
            id="limit",
        ),
        pytest.param(
            shaped(10**7, "codel target 10ms ce_threshold 1ms ecn"),
            shaped(10**6, "codel 50p"),
            [
                f"{CLASS} 1000000bit ceil 1000000bit burst 1514 cburst 1514 quantum 1514",
                "qdisc change dev v0 parent 1:10 handle 10: codel limit 50 target 5ms "
                "interval 100ms ce_threshold 2199023255us noecn",
            ],
            id="all of codel, and what is left out is switched off",
        ),
        pytest.param(
            shaped(10**7, "fq_codel flows 64"),
            shaped(10**7, "fq_codel flows 64 ecn"),
            [
                "qdisc change dev v0 parent 1:10 handle 10: fq_codel limit 10240 quantum 1514 "
                "target 5ms interval 100ms memory_limit 33554432 drop_batch 64 ecn"
            ],
            id="fq_codel takes no flows in a change",
        ),
        pytest.param(
            shaped(10**7, "cake"),
            shaped(10**9, "cake"),
            [
                f"{CLASS} 1000000000bit ceil 1000000000bit burst 31250 cburst 31250 quantum 1514",
                "qdisc change dev v0 parent 1:10 handle 10: cake unlimited besteffort "
                "triple-isolate nonat nowash no-ack-filter split-gso egress raw rtt 100ms "
                "memlimit 50000000",
            ],
            id="the memory of cake follows the capacity",
        ),
        pytest.param(
            shaped(10**7, "red 60kB"),
            shaped(10**6, "red 60kB"),
            [f"{CLASS} 1000000bit ceil 1000000bit burst 1514 cburst 1514 quantum 1514"],
            id="red stays as it is",
        ),
    ],
)
def test_a_change_says_what_differs_and_all_of_that(
    before: Direction, after: Direction, expected: list[str]
) -> None:
    assert tc_change_commands(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        pytest.param(shaped(None), shaped(10**6, "50p"), "neither begun nor left", id="capacity"),
        pytest.param(
            shaped(10**6, "50p"), shaped(10**6, "codel"), r"\(pfifo, codel\)", id="discipline"
        ),
        pytest.param(
            shaped(10**6, "red 60kB"), shaped(10**6, "red 70kB"), "red empties its queue", id="red"
        ),
        pytest.param(
            shaped(10**6, "fq_codel"),
            shaped(10**6, "fq_codel flows 64"),
            "cannot change its number of flows",
            id="flows",
        ),
    ],
)
def test_what_would_lose_packets_is_refused(
    before: Direction, after: Direction, message: str
) -> None:
    assert len(change_refusals(before, after)) == 1
    with pytest.raises(ScenarioError, match=message):
        tc_change_commands(before, after)
