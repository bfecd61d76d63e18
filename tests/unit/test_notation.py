"""Rule: a text is read as it is documented, or refused with what was expected and what was got."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from testbed.errors import QuantityError, ScenarioError
from testbed.scenario import notation, queues
from testbed.scenario.impairments import (
    Bernoulli,
    Every,
    FourState,
    GilbertElliott,
    Listed,
    Outage,
    Reorder,
    Segments,
    Trace,
    Variation,
)
from testbed.scenario.model import TEXT_SETTINGS, Way
from testbed.scenario.queues import Queue

MS, S = 10**6, 10**9
PARSERS: dict[str, Callable[[Any], Any]] = {
    "capacity": notation.parse_capacity,
    "queue": notation.parse_queue,
    "delay_variation": notation.parse_variation,
    "loss": notation.parse_loss,
    "duplicate": notation.parse_pick,
    "reorder": notation.parse_reorder,
    "outage": notation.parse_outages,
    "schedule": notation.split_scheduled,
}


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        ("capacity", "10mbit", 10_000_000),
        ("capacity", " 1.5 mbit ", 1_500_000),
        ("loss", "1%", Bernoulli(ratio=0.01)),
        ("loss", "0", Bernoulli(ratio=0.0)),
        ("loss", "100%", Bernoulli(ratio=1.0)),
        ("loss", "every 23", Every(n=23)),
        ("loss", "packets 0", Listed(numbers=(0,))),
        ("loss", "packets 3,7,9-12", Listed(numbers=(3, 7, 9, 10, 11, 12))),
        ("loss", "  packets  3 , 7 ", Listed(numbers=(3, 7))),
        ("loss", "segments 1-3,9", Segments(ordinals=(1, 2, 3, 9))),
        ("loss", "gilbert-elliott p 1% r 25%", GilbertElliott(p=0.01, r=0.25)),
        (
            "loss",
            "gilbert-elliott r 25% p 1% 1-h 50% 1-k 0.1%",
            GilbertElliott(p=0.01, r=0.25, bad_loss=0.5, good_loss=0.001),
        ),
        ("loss", "markov p13 1% p31 20%", FourState(p13=0.01, p31=0.2)),
        (
            "loss",
            "markov p13 1% p31 20% p32 30% p23 40% p14 5%",
            FourState(p13=0.01, p31=0.2, p32=0.3, p23=0.4, p14=0.05),
        ),
        ("duplicate", "0.5%", Bernoulli(ratio=0.005)),
        ("duplicate", "every 1", Every(n=1)),
        ("reorder", "1%", Reorder(pick=Bernoulli(ratio=0.01))),
        (
            "reorder",
            "every 10 within 5ms extent 5",
            Reorder(pick=Every(n=10), extent=5, within_ns=5 * MS),
        ),
        (
            "reorder",
            "packets 3,7 within +5ms",
            Reorder(pick=Listed(numbers=(3, 7)), within_ns=5 * MS),
        ),
        (
            "reorder",
            "packets 5+3,9+1 within 1s",
            Reorder(pick=Listed(numbers=(5, 9)), extents=(3, 1), within_ns=S),
        ),
        ("delay_variation", "2ms", Variation(spread_ns=2 * MS)),
        ("delay_variation", "2ms overtaking", Variation(spread_ns=2 * MS, overtaking=True)),
        (
            "delay_variation",
            "2ms pareto overtaking",
            Variation(spread_ns=2 * MS, distribution="pareto", overtaking=True),
        ),
        ("outage", "at 2s for 500ms", (Outage(start_ns=2 * S, duration_ns=500 * MS),)),
        (
            "outage",
            "at 0 for 1s,at 1s for 1s",
            (Outage(start_ns=0, duration_ns=S), Outage(start_ns=S, duration_ns=S)),
        ),
        ("schedule", " at 5s : loss 1% ", (5 * S, "loss 1%")),
        ("schedule", "at 0: outage at 1s for 2s, at 4s for 1s", (
            0, "outage at 1s for 2s, at 4s for 1s",
        )),
        ("queue", "50p", Queue(discipline="pfifo", limit_packets=50)),
        ("queue", "64kB", Queue(discipline="bfifo", limit_bytes=64_000)),
        ("queue", "pfifo 50p", Queue(discipline="pfifo", limit_packets=50)),
        ("queue", "codel", Queue(discipline="codel")),
        (
            "queue",
            "codel 100p target 5ms ecn interval 100ms",
            Queue(
                discipline="codel",
                limit_packets=100,
                settings={"target": 5 * MS, "interval": 100 * MS},
                ecn=True,
            ),
        ),
        ("queue", "cake 1MB rtt 50ms", Queue(
            discipline="cake", limit_bytes=10**6, settings={"rtt": 50 * MS}
        )),
        (
            "queue",
            "red 100kB min 10kB max 30kB avpkt 1000B burst 20 probability 2% ecn",
            Queue(
                discipline="red",
                limit_bytes=100_000,
                settings={
                    "min": 10_000, "max": 30_000, "avpkt": 1000, "burst": 20, "probability": 0.02,
                },
                ecn=True,
            ),
        ),
        ("queue", "fq flow_limit 20p quantum 3028B", Queue(
            discipline="fq", settings={"flow_limit": 20, "quantum": 3028}
        )),
    ],
)  # fmt: skip
def test_what_is_written_is_what_is_read(setting: str, text: str, value: object) -> None:
    assert PARSERS[setting](text) == value


@pytest.mark.parametrize(
    ("setting", "text", "why"),
    [
        ("capacity", "10", "the unit is missing"),
        ("capacity", "0mbit", "must be greater than 0"),
        ("capacity", "-1mbit", "must not be negative"),
        ("capacity", "nanmbit", '"nanmbit" is not known here'),
        ("capacity", "trace", "the NAME or FILE is missing"),
        ("capacity", 'trace ""', "the NAME or FILE is empty"),
        ("capacity", "trace steady_12mbt", 'did you mean "steady_12mbit"?'),
        ("capacity", "trace steady_12mbit 5", '"5" is not known here'),
        ("capacity", "steady_12mbit", "or trace NAME or trace FILE"),
        ("loss", "", "(got nothing)"),
        ("loss", "  ", "(got nothing)"),
        ("loss", "5", "the % is missing"),
        ("loss", "100.001%", "must lie between 0% and 100%"),
        ("loss", "-1%", "must lie between 0% and 100%"),
        ("loss", "inf%", '"inf%" is not known here'),
        ("loss", "1e99%", "must lie between 0% and 100%"),
        ("loss", "1% 25%", "correlated loss is not offered"),
        ("loss", "1% every 5", '"every" is not known here'),
        ("loss", "evry 5", 'did you mean "every"?'),
        ("loss", "every", "N is missing"),
        ("loss", "every 0", "expected a whole number of at least 1"),
        ("loss", "every -5", "expected a whole number of at least 1"),
        ("loss", "every 2.5", "expected a whole number of at least 1"),
        ("loss", "every \u0663", "expected a whole number of at least 1"),
        ("loss", "packets \u0663", "is no number and no range"),
        ("loss", "\u0663%", "expected a percentage"),
        ("reorder", "packets 5+\u0663", "is not NUMBER+EXTENT"),
        ("queue", "codel \u0663p", "is not known here"),
        ("loss", "every 9999999999", "expected a whole number of at least 1"),
        ("loss", "packets", "the LIST is missing"),
        ("loss", "packets 7,3", 'the list must ascend (at "3")'),
        ("loss", "packets 3,3", 'the list must ascend (at "3")'),
        ("loss", "packets 9-3", 'the list must ascend (at "9-3")'),
        ("loss", "packets 3,,4", '"" is no number and no range'),
        ("loss", "packets -3", '"-3" is no number and no range'),
        ("loss", "packets 3 4", '"4" is not known here'),
        ("loss", "packets 0-1000000", "a list has at most 1000000 packets"),
        ("loss", "segments 0", "segments are counted from 1"),
        ("loss", "segments 1 2", '"2" is not known here'),
        ("loss", "gilbert-elliott p 1%", "r is missing"),
        ("loss", "gilbert-elliott", "p is missing"),
        ("loss", "gilbert-elliott p 1% r", "the value of r is missing"),
        ("loss", "gilbert-elliott p 1% p 2% r 3%", "p is given twice"),
        ("loss", "gilbert-elliott p 101% r 3%", "p: must lie between 0% and 100%"),
        ("loss", "gilbert-elliott p 1% r 3% h 3%", '"h" is not known here'),
        ("loss", "markov p31 1%", "p13 is missing"),
        ("loss", "markov p13 60% p31 1% p14 60%", "p13 and p14 must not be more than 100%"),
        ("loss", "markov p13 1% p31 60% p32 60%", "p31 and p32 must not be more than 100%"),
        ("duplicate", "segments 3", '"segments" is not known here'),
        ("duplicate", "gilbert-elliott p 1% r 1%", "is not known here"),
        ("reorder", "1% extent 0", "extent: expected a whole number of at least 1"),
        ("reorder", "1% extent 3 extent 4", "extent is given twice"),
        ("reorder", "1% within 0", "nothing can overtake in no time"),
        ("reorder", "packets 5+3 extent 2", "each packet of the list has its own"),
        ("reorder", "packets 5+3,6", '"6" is not NUMBER+EXTENT'),
        ("reorder", "packets 5+0", "expected a whole number of at least 1"),
        ("reorder", "packets 5+3,5+2", "the list must ascend"),
        ("delay_variation", "normal", "expected a time"),
        ("delay_variation", "2ms gaussian", '"gaussian" is not known here'),
        ("delay_variation", "2ms noraml", 'did you mean "normal"?'),
        ("delay_variation", "2ms table", "the FILE of the table is missing"),
        ("delay_variation", "2ms table nosuch.dist", "which is none"),
        ("delay_variation", "2ms overtaking normal", '"normal" is not known here'),
        ("outage", "2s", '"2s" is none'),
        ("outage", "at 2s for 0", "must last longer than 0"),
        ("outage", "at 2s for 1s,", '"" is none'),
        ("outage", "at 2s for 1s, at 2.5s for 1s", "is before the end of the one before"),
        ("outage", "at 3s for 1s, at 1s for 1s", "is before the end of the one before"),
        ("outage", "at x for 1s", 'got "x"'),
        ("schedule", "5s: loss 1%", "expected at TIME: SETTING VALUE"),
        ("schedule", "at 5s loss 1%", "expected at TIME: SETTING VALUE"),
        ("schedule", "at 5: loss 1%", "the unit is missing"),
        ("schedule", "at 5s:", "expected at TIME: SETTING VALUE"),
        ("queue", "50", "the unit is missing"),
        ("queue", "0p", "must be at least 1 packet"),
        ("queue", "50p 60p", '"60p" is not known here'),
        ("queue", "pfifo", "the limit of pfifo is missing"),
        ("queue", "bfifo 50p", "the limit of bfifo counts bytes, such as 64kB"),
        ("queue", "codel 64kB", "the limit of codel counts packets, such as 50p"),
        ("queue", "codel -5p", "must be at least 1 packet"),
        ("queue", "cdel", 'did you mean "codel"?'),
        ("queue", "codel target 5", "target: expected a time with a unit"),
        ("queue", "codel target 0", "target: must lie between 0 and 1 hour"),
        ("queue", "codel target 2000min", "target: must lie between 0 and 1 hour"),
        ("queue", "codel target 5ms target 6ms", "target is given twice"),
        ("queue", "codel ecn ecn", "ecn is given twice"),
        ("queue", "codel rtt 5ms", '"rtt" is not known here'),
        ("queue", "codel 100p 5ms", '"5ms" is not known here'),
        ("queue", "fq ecn", "ecn: fq cannot mark"),
        ("queue", "cake ecn", "ecn: cake marks by itself"),
        ("queue", "red", "the limit of red is missing"),
        ("queue", "red 100kB min 30kB max 20kB", "max must be greater than min"),
        ("queue", "red 100kB min 30kB avpkt 1500B burst 19", "burst must be at least min / avpkt"),
        ("queue", "red 100kB probability 101%", "probability: must lie between 0% and 100%"),
        ("queue", "fq_codel quantum 0B", "quantum: must be at least 1 byte"),
        ("queue", "fq_codel flows 0", "flows: expected a whole number of at least 1"),
        ("queue", "fq flow_limit 5kB", "flow_limit: expected packets such as 100p"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(setting: str, text: str, why: str) -> None:
    with pytest.raises(QuantityError) as caught:
        PARSERS[setting](text)
    message = str(caught.value)
    assert why in message
    assert re.search(r"expected|must", message)
    assert "(got " in message


@pytest.mark.parametrize("setting", sorted(PARSERS))
@pytest.mark.parametrize("value", [5, 0.5, True, None, ["1%"], {"a": 1}, b"1%"], ids=repr)
def test_what_is_no_text_is_refused(setting: str, value: object) -> None:
    with pytest.raises(QuantityError, match="expected "):
        PARSERS[setting](value)


def test_a_long_text_is_shown_by_its_beginning() -> None:
    text = "packets " + ",".join(str(n) for n in range(100_000)) + ",x"
    with pytest.raises(QuantityError) as caught:
        notation.parse_loss(text)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("setting", sorted(PARSERS))
@pytest.mark.parametrize(
    "text",
    [" " * 300_000 + "x", "1" + " " * 300_000 + "1", ", " * 100_000, '"' * 100_001, "1," * 100_000],
    ids=["blanks", "blanks within", "commas", "quotes", "a list"],
)
def test_a_long_text_takes_no_long_time(setting: str, text: str) -> None:
    began = time.process_time()
    with pytest.raises(QuantityError):
        PARSERS[setting](text)
    assert time.process_time() - began < 2  # what grows with the square of it would take minutes


KNOWN_WORDS = """
1% 101% every packets segments gilbert-elliott markov p r 1-h 1-k p13 p31 p32 5 0 -1 3,7 9-12 9-3
5+3 extent within 2ms 2 normal uniform pareto table overtaking at for : , codel red cake pfifo 50p
64kB ecn target min max burst trace steady_12mbit 10mbit 1e99% nan loss delay queue capacity
schedule " "" "a ~ ~nobody/x / .
"""
WORDS = st.sampled_from([*KNOWN_WORDS.split(), "\x00", "\u0663", "\u00b2", "\u00e9"])
TEXTS = st.text(max_size=40) | st.lists(WORDS, max_size=8).map(" ".join)


@pytest.mark.parametrize("setting", sorted(PARSERS))
@given(text=TEXTS)
@example(text="1" * 6000 + "%")
@example(text="1" * 3000 + " 1 1")
@example(text="packets " + "9" * 5000)
@example(text="every " + "9" * 5000)
@example(text="2ms table " + "x" * 300)
@example(text="2ms table x\x00y")
@example(text="trace ~nobody_of_that_name/x")
@example(text='"')
@example(text="\ud800%")
def test_any_text_is_read_or_refused(setting: str, text: str) -> None:
    with contextlib.suppress(QuantityError):
        PARSERS[setting](text)


@given(text=TEXTS | st.tuples(st.sampled_from(TEXT_SETTINGS), TEXTS).map(" ".join))
def test_any_text_of_settings_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(QuantityError, ScenarioError):
        Way.from_text(text)


@given(numbers=st.sets(st.integers(0, 10**17), min_size=1, max_size=30))
def test_a_list_in_any_writing_is_the_same(numbers: set[int]) -> None:
    ordered = sorted(numbers)
    plain = "packets " + ",".join(map(str, ordered))
    spaced = "packets " + " , ".join(f"{n}-{n}" for n in ordered)
    assert notation.parse_loss(plain) == notation.parse_loss(spaced)
    assert notation.parse_loss(plain) == Listed(numbers=tuple(ordered))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("loss 2%", {"loss": "2%"}),
        ("loss 2%, delay 5ms", {"loss": "2%", "delay": "5ms"}),
        ("loss\t2%,\n delay  5ms ", {"loss": "2%", "delay": "5ms"}),
        ("delay-variation 2ms normal", {"delay_variation": "2ms normal"}),
        ("loss packets 3, 7,delay 5ms", {"loss": "packets 3, 7", "delay": "5ms"}),
        (
            "outage at 2s for 1s, at 9s for 1s, loss 1%",
            {"outage": "at 2s for 1s, at 9s for 1s", "loss": "1%"},
        ),
        ('capacity trace "a, loss b", loss 1%', {"capacity": 'trace "a, loss b"', "loss": "1%"}),
    ],
)
def test_settings_in_one_text(text: str, found: dict[str, str]) -> None:
    assert notation.split_settings(text, TEXT_SETTINGS) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "(got nothing)"),
        ("los 2%", 'unknown setting "los"; did you mean "loss"?'),
        ("xyzzy 2%", "there are capacity, queue, delay"),
        ("loss", "the value of loss is missing"),
        ("loss 2%, delay", "the value of delay is missing"),
        ("loss 2%, loss 3%", "loss is given twice"),
        ("delay_variation 2ms, delay-variation 3ms", "delay-variation is given twice"),
        ("loss 2%, dealy 5ms", 'unknown setting "dealy"; did you mean "delay"?'),
        ("schedule at 5s: loss 1%", 'unknown setting "schedule"'),
    ],
)
def test_settings_that_are_wrong(text: str, why: str) -> None:
    with pytest.raises(QuantityError) as caught:
        notation.split_settings(text, TEXT_SETTINGS)
    assert why in str(caught.value)
    assert str(caught.value).startswith("expected SETTING VALUE")


def test_a_file_with_blanks_stands_in_quotes(tmp_path: Path) -> None:
    folder = tmp_path / "my, files"
    folder.mkdir()
    (folder / "a b.dist").write_text("-8192 0 8192\n")
    (folder / "a b.trace").write_text("1\n2\n")
    variation = notation.parse_variation(f'2ms table "{folder}/a b.dist" overtaking')
    assert (variation.file, variation.overtaking) == (f"{folder}/a b.dist", True)
    trace = notation.parse_capacity(f'trace "{folder}/a b.trace"')
    assert isinstance(trace, Trace)
    assert (trace.name, trace.mean_bit_s) == (f"{folder}/a b.trace", 12_000_000)


def test_every_discipline_has_a_limit_and_settings() -> None:
    assert set(queues.LIMIT_UNITS) == set(queues.SETTINGS)
    assert set(queues.MARKING) | set(queues.LIMIT_NEEDED) <= set(queues.SETTINGS)


@pytest.mark.parametrize(
    ("text", "marks", "drop_tail"),
    [
        ("50p", False, True),
        ("64kB", False, True),
        ("codel", False, False),
        ("codel ecn", True, False),
        ("cake", True, False),
        ("fq", False, False),
    ],
)
def test_what_a_queue_does(text: str, marks: bool, drop_tail: bool) -> None:
    queue = notation.parse_queue(text)
    assert (queue.marks, queue.is_drop_tail) == (marks, drop_tail)
