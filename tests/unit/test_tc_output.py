"""What tc prints of netem and of active queue management, on a kernel that has them.

Whoever reads settings back relies on these; where they do not say what was set, they show it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.tc_output import options_after, qdiscs_by_command

LIMIT = "netem limit 100000"


@pytest.mark.parametrize(
    ("settings", "read_back"),
    [
        pytest.param(
            "delay 20ms 2ms",
            {"delay": {"delay": 0.02, "jitter": 0.002, "correlation": 0}},
            id="delay variation",
        ),
        pytest.param(
            "delay 20ms 2ms distribution normal",
            {"delay": {"delay": 0.02, "jitter": 0.002, "correlation": 0}},
            id="the distribution is not shown",
        ),
        pytest.param(
            "delay 1234.567us",
            {"delay": {"delay": 0.001233, "jitter": 0, "correlation": 0}},
            id="less than was set, by up to 2 us",
        ),
        pytest.param("delay 0ms 2ms", {}, id="no variation without a delay"),
        pytest.param("loss random 0%", {}, id="zero is not shown"),
        pytest.param(
            "loss gemodel 1% 25% 75% 0.1%",
            {"loss-gemodel": {"p": 0.01, "r": 0.25, "1-h": 0.75, "1-k": 0.001}},
            id="Gilbert-Elliott",
        ),
        pytest.param(
            "duplicate 1%", {"duplicate": {"duplicate": 0.01, "correlation": 0}}, id="duplication"
        ),
        pytest.param("corrupt 0.1%", {"corrupt": {"corrupt": 0.001, "correlation": 0}}, id="bits"),
    ],
)
def test_netem(settings: str, read_back: dict[str, Any]) -> None:
    shown = options_after("tc_netem.txt", f"{LIMIT} {settings}")
    assert shown == {"limit": 100000, **read_back, "ecn": False, "gap": 0}


def test_this_netem_takes_no_seed_and_no_nanoseconds() -> None:
    refused = {command for command, qdiscs in qdiscs_by_command("tc_netem.txt").items()
               if qdiscs == []}  # fmt: skip
    words = {word for command in refused for word in command.split()}
    assert {"seed", "20000123ns"} <= words


@pytest.mark.parametrize(
    ("settings", "name", "microseconds"),
    [
        ("codel limit 50 target 5ms interval 100ms", "target", 4999),
        ("codel limit 50 target 5ms interval 100ms", "interval", 99999),
        ("pie limit 50 target 15ms tupdate 15ms alpha 2 beta 20", "target", 15000),
        ("pie limit 50 target 15ms tupdate 15ms alpha 2 beta 20", "tupdate", 16000),
    ],
)
def test_times_of_queues_read_back_rounded(settings: str, name: str, microseconds: int) -> None:
    assert options_after("tc_aqm.txt", settings)[name] == microseconds


def test_a_delay_line_that_is_full_counts_like_a_loss() -> None:
    full = qdiscs_by_command("tc_netem_counts.txt")[
        "tc qdisc add dev v0 root handle 1: netem limit 10 delay 300ms"
    ]
    assert (full[0]["drops"] > 200, full[0]["overlimits"]) == (True, 0)


def test_marks_are_counted_apart_from_drops() -> None:
    for settings, name in (
        ("codel limit 50 ecn", "ecn_mark"),
        ("fq_codel limit 50 ecn", "ecn_mark"),
        ("red limit 75700 min 7570 max 22710 avpkt 1514 burst 9 probability 0.1 bandwidth 1mbit "
         "ecn", "marked"),
        ("pie limit 50 ecn", "ecn_mark"),
    ):  # fmt: skip
        command = f"tc qdisc add dev v0 parent 1:10 handle 10: {settings}"
        (queue,) = qdiscs_by_command("tc_aqm_counts.txt")[command][1:]
        assert queue[name] > 0, settings
