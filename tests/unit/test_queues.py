"""Rule: tc is told every setting of a queue, and what reads back as another is named.

Real output of tc is in tests/data.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from testbed.errors import QuantityError
from testbed.network.queues import (
    change_refusals,
    complete,
    differences,
    red_weight,
    time_word,
    words,
)
from testbed.scenario.notation import parse_queue
from tests.support.tc_output import options_after

CAPACITY: Final = 10_000_000
CAKE: Final = (
    "cake unlimited besteffort triple-isolate nonat nowash no-ack-filter split-gso egress raw"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50p", "pfifo limit 50"),
        ("64kB", "bfifo limit 64000"),
        ("codel", "codel limit 1000 target 5ms interval 100ms noecn"),
        (
            "codel 50p target 1500us interval 30ms ce_threshold 1ms ecn",
            "codel limit 50 target 1500us interval 30ms ce_threshold 1ms ecn",
        ),
        (
            "fq_codel",
            "fq_codel limit 10240 flows 1024 quantum 1514 target 5ms interval 100ms "
            "memory_limit 33554432 drop_batch 64 noecn",
        ),
        (
            "fq_codel 50p flows 64 quantum 300B ecn",
            "fq_codel limit 50 flows 64 quantum 300 target 5ms interval 100ms "
            "memory_limit 33554432 drop_batch 64 ecn",
        ),
        ("cake", f"{CAKE} rtt 100ms memlimit 4194304"),
        ("cake 100kB rtt 20ms", f"{CAKE} rtt 20ms memlimit 100000"),
        (
            "red 60kB",
            "red limit 60000 min 5000 max 15000 avpkt 1000 burst 8 probability 0.02 "
            "bandwidth 10000000bit",
        ),
        (
            "red 60kB min 15kB max 45kB avpkt 1500B burst 20 probability 10% ecn",
            "red limit 60000 min 15000 max 45000 avpkt 1500 burst 20 probability 0.1 "
            "bandwidth 10000000bit ecn",
        ),
        ("pie", "pie limit 1000 target 15ms tupdate 15ms alpha 2 beta 20 noecn nobytemode"),
        (
            "pie 50p target 20ms tupdate 30ms ecn",
            "pie limit 50 target 20ms tupdate 30ms alpha 2 beta 20 ecn nobytemode",
        ),
        ("fq", "fq limit 10000 flow_limit 100 quantum 3028"),
        (
            "fq 50p flow_limit 20p quantum 1514B ce_threshold 2ms",
            "fq limit 50 flow_limit 20 quantum 1514 ce_threshold 2ms",
        ),
    ],
)
def test_tc_is_told_every_setting(text: str, expected: str) -> None:
    assert words(parse_queue(text), CAPACITY) == expected


READ_BACK: Final = "tc_queues.txt"


@pytest.mark.parametrize(
    "text",
    [
        "codel",
        "codel 50p target 1500us interval 30ms ce_threshold 1ms ecn",
        "fq_codel",
        "fq_codel 50p flows 64 quantum 300B ecn",
        "cake",
        "cake 100kB rtt 20ms",
        "red 60kB",
        "red 60kB min 15kB max 45kB avpkt 1500B burst 20 probability 10% ecn",
        "pie",
        "pie 50p target 20ms tupdate 30ms ecn",
        "fq",
        "fq 50p flow_limit 20p quantum 1514B ce_threshold 2ms",
    ],
)
def test_what_debians_kernel_reads_back_is_accepted(text: str) -> None:
    assert differences(parse_queue(text), CAPACITY, read_back(text)) == []


def read_back(text: str) -> dict[str, Any]:
    """What tc printed after it was told this queue."""
    return options_after(READ_BACK, words(parse_queue(text), CAPACITY))


@pytest.mark.parametrize(
    ("text", "had", "expected"),
    [
        ("codel 999p", "codel", "limit was set to 999 and reads back as 1000"),
        (
            "codel target 5010us",
            "codel",
            "target was set to 5010us and reads back as 4999",
        ),
        ("codel ecn", "codel", "ecn was set to True and reads back as None"),
        (
            "codel ce_threshold 1ms",
            "codel",
            "ce_threshold was set to 1ms and reads back as None",
        ),
        (
            "codel 50p target 1500us interval 30ms ecn",
            "codel 50p target 1500us interval 30ms ce_threshold 1ms ecn",
            "ce_threshold was not set and reads back as 999",
        ),
        (
            "fq_codel flows 1023",
            "fq_codel",
            "flows was set to 1023 and reads back as 1024",
        ),
        ("cake rtt 50ms", "cake", "rtt was set to 50ms and reads back as 100000"),
        (
            "cake 64kB",
            "cake",
            "memlimit was set to 64000 and reads back as 4194304",
        ),
        (
            "red 60kB probability 3%",
            "red 60kB",
            "probability was set to 0.03 and reads back as 0.02",
        ),
        ("red 60kB burst 30", "red 60kB", "ewma was set to 7 and reads back as 3"),
        (
            "pie tupdate 30ms",
            "pie",
            "tupdate was set to 30ms and reads back as 16000",
        ),
        (
            "fq flow_limit 99p",
            "fq",
            "flow_limit was set to 99 and reads back as 100",
        ),
    ],
)
def test_what_reads_back_as_another_is_named(text: str, had: str, expected: str) -> None:
    assert differences(parse_queue(text), CAPACITY, read_back(had)) == [expected]


def test_cake_has_the_memory_that_it_gives_itself_for_a_rate() -> None:
    # cake_reconfigure: 4 * rate * interval, at least 4 MiB: at 1 Gbit/s and 100 ms 50 MB.
    assert complete(parse_queue("cake"), 10**9).limit_bytes == 50_000_000
    assert complete(parse_queue("cake rtt 10ms"), 10**9).limit_bytes == 5_000_000
    assert complete(parse_queue("cake"), 10**6).limit_bytes == 4 * 2**20
    assert complete(parse_queue("cake"), 10**18).limit_bytes == 2**32 - 1


@pytest.mark.parametrize(
    ("text", "least", "most", "burst"),
    [
        pytest.param("red 60kB", 5000, 15000, 8, id="max = limit / 4, min = max / 3"),
        pytest.param("red 60kB min 6kB", 6000, 18000, 10, id="max = 3 min"),
        pytest.param("red 60kB max 12kB", 4000, 12000, 6, id="min = max / 3"),
        pytest.param("red 60kB min 1500B max 1600B", 1500, 1600, 2, id="burst covers min"),
    ],
)
def test_what_red_is_not_given_follows_its_published_rules(
    text: str, least: int, most: int, burst: int
) -> None:
    settings = complete(parse_queue(text), CAPACITY).settings
    assert (settings["min"], settings["max"], settings["burst"]) == (least, most, burst)
    assert (settings["avpkt"], settings["probability"], settings["bandwidth"]) == (
        1000,
        0.02,
        CAPACITY,
    )


def test_the_weight_of_red_is_the_one_that_tc_finds() -> None:
    # a = burst + 1 - min / avpkt; the first W = 2^-n with a <= (1 - (1 - W)^burst) / W.
    assert red_weight(5000, 8, 1000) == 3
    assert red_weight(15000, 20, 1500) == 4
    assert red_weight(7000, 6, 1000) is None
    assert red_weight(500, 8, 1000) is None


@pytest.mark.parametrize("text", ["red 8kB", "red 60kB min 500B max 2kB", "red 60kB burst 100000"])
def test_red_without_a_weight_is_wrong_before_anything_is_built(text: str) -> None:
    with pytest.raises(QuantityError, match="red has no averaging weight for min"):
        complete(parse_queue(text), CAPACITY)


def test_times_are_said_in_what_tc_knows() -> None:
    assert [time_word(t) for t in (0, 5_000_000, 1_500_000, 1_234_567, 20_000_000_000)] == [
        "0ms",
        "5ms",
        "1500us",
        "1234.567us",
        "20000ms",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("50p", "codel", "the discipline cannot change (pfifo, codel)"),
        ("red 60kB", "red 60kB ecn", "red empties its queue whenever a setting changes"),
        ("fq_codel", "fq_codel flows 64", "fq_codel cannot change its number of flows"),
    ],
)
def test_what_a_live_queue_cannot_change(old: str, new: str, message: str) -> None:
    (why,) = change_refusals(parse_queue(old), parse_queue(new))
    assert why.startswith(message)
    assert change_refusals(parse_queue(old), parse_queue(old)) == []
