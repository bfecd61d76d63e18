"""How people write what a link does: short texts of words, each quantity with its unit.

    capacity         10mbit | trace NAME|FILE
    queue            50p | 64kB | DISCIPLINE [LIMIT] [SETTING VALUE]... [ecn]
    delay            20ms
    delay_variation  2ms [uniform|normal|pareto|paretonormal|table FILE] [overtaking]
    loss             1% | every N | packets LIST | segments LIST
                     gilbert-elliott p % r % [1-h %] [1-k %]
                     markov p13 % p31 % [p32 %] [p23 %] [p14 %]
    duplicate        1% | every N | packets LIST
    corrupt          1% | every N | packets LIST
    reorder          1% | every N | packets LIST, then [extent N] [within TIME]
    outage           at TIME for TIME, ...
    schedule         at TIME: SETTING VALUE, ...

A LIST is ``3,7,9-12``; one of `reorder` may give each packet its own extent: ``5+3,9+1``.
Packets are numbered from 0, as in the link's log; data segments from 1 (the first, the second).
A file's name with blanks or commas stands in double quotes.

Every function takes the text and returns a type of `testbed.scenario.impairments` or `.queues`, or
raises `QuantityError`, whose message says what was expected and what was got.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from testbed import units
from testbed.errors import QuantityError, shown
from testbed.scenario import tables
from testbed.scenario.impairments import (
    DEFAULT_EXTENT,
    DEFAULT_WITHIN_NS,
    DISTRIBUTIONS,
    Bernoulli,
    Every,
    FourState,
    GilbertElliott,
    Listed,
    Loss,
    Outage,
    Pick,
    Reorder,
    Segments,
    Trace,
    Variation,
)
from testbed.scenario.names import did_you_mean
from testbed.scenario.queue_notation import parse_queue
from testbed.scenario.words import QUOTED, Words, count

CAPACITY_FORM: Final = f"{units.CAPACITY_FORM}, or trace NAME or trace FILE"
PICK_FORM: Final = "a percentage such as 1%, every N, or packets LIST such as 3,7,9-12"
LOSS_FORM: Final = (
    "a percentage such as 1%, every N, packets LIST, segments LIST, gilbert-elliott p % r %, "
    "or markov p13 % p31 %"
)
REORDER_FORM: Final = f"{PICK_FORM}, and then extent N and within TIME"
VARIATION_FORM: Final = (
    f"a time such as 2ms, then {', '.join(DISTRIBUTIONS)} or table FILE, then overtaking"
)
OUTAGE_FORM: Final = "at TIME for TIME, such as at 2s for 500ms"
MAX_LISTED: Final = 1_000_000
_NO_CORRELATION: Final = (
    "correlated loss is not offered: netem's is broken (a ratio of 0.3% with 25% drops nothing); "
    "for losses in bursts write gilbert-elliott p 1% r 25%"
)


def parse_capacity(text: str) -> int | Trace:
    """A capacity in bit/s, or a trace of it.

    Raises:
        QuantityError: neither, or the trace cannot be read.
    """
    words = Words(text, CAPACITY_FORM)
    if words.take_if("trace"):
        name = words.take_name("the NAME or FILE")
        words.end()
        return tables.describe_trace(name)
    if words.next[:1].isalpha():
        words.end("trace")
    return units.parse_capacity_bit_s(text)


def parse_variation(text: str) -> Variation:
    """The variation of a delay.

    Raises:
        QuantityError: no time, no known distribution, or its file cannot be read.
    """
    words = Words(text, VARIATION_FORM)
    spread_ns = _time(words, words.take("the time"))
    shape: Any = words.take_if(*DISTRIBUTIONS, "table") or "uniform"
    file = words.take_name("the FILE of the table") if shape == "table" else ""
    if file:
        tables.read_distribution(file)
    overtaking = bool(words.take_if("overtaking"))
    words.end(*DISTRIBUTIONS, "table", "overtaking")
    return Variation(spread_ns=spread_ns, distribution=shape, file=file, overtaking=overtaking)


def parse_loss(text: str) -> Loss:
    """Which packets are lost.

    Raises:
        QuantityError: none of the forms, or a value out of its bounds.
    """
    words = Words(text, LOSS_FORM)
    model = words.take_if("gilbert-elliott", "markov", "segments")
    if model == "gilbert-elliott":
        found = dict(words.settings(dict.fromkeys(_GILBERT_ELLIOTT, units.parse_ratio)))
        lacking = [name for name in ("p", "r") if name not in found]
        if lacking:
            raise words.error(f"{lacking[0]} is missing")
        return GilbertElliott(**{_GILBERT_ELLIOTT[name]: value for name, value in found.items()})
    if model == "markov":
        names = ("p13", "p31", "p32", "p23", "p14")
        found = dict(words.settings(dict.fromkeys(names, units.parse_ratio)))
        lacking = [name for name in ("p13", "p31") if name not in found]
        if lacking:
            raise words.error(f"{lacking[0]} is missing")
        four = FourState(**found)
        if four.p13 + four.p14 > 1:
            raise words.error("p13 and p14 must not be more than 100% together")
        if four.p31 + four.p32 > 1:
            raise words.error("p31 and p32 must not be more than 100% together")
        return four
    if model == "segments":
        ordinals = _numbers(words, words.take("the LIST"))
        words.end()
        if ordinals and ordinals[0] < 1:
            raise words.error("segments are counted from 1")
        return Segments(ordinals=ordinals)
    pick = _pick(words)
    if words.next.endswith("%"):
        raise words.error(_NO_CORRELATION)
    words.end("every", "packets", "segments", "gilbert-elliott", "markov")
    return pick


_GILBERT_ELLIOTT: Final = {"p": "p", "r": "r", "1-h": "bad_loss", "1-k": "good_loss"}


def parse_pick(text: str) -> Pick:
    """Which packets are duplicated or corrupted.

    Raises:
        QuantityError: none of the forms, or a value out of its bounds.
    """
    words = Words(text, PICK_FORM)
    pick = _pick(words)
    words.end("every", "packets")
    return pick


def parse_reorder(text: str) -> Reorder:
    """Which packets are overtaken, and by how many.

    Raises:
        QuantityError: none of the forms, or a value out of its bounds.
    """
    words = Words(text, REORDER_FORM)
    extents: tuple[int, ...] = ()
    pick: Pick
    if words.take_if("packets"):
        listed = words.take("the LIST")
        if "+" in listed:
            pick, extents = _numbers_and_extents(words, listed)
        else:
            pick = Listed(numbers=_numbers(words, listed))
    else:
        pick = _pick(words)
    found = dict(words.settings({"extent": count, "within": units.parse_time_ns}))
    if extents and "extent" in found:
        raise words.error("extent: each packet of the list has its own")
    if found.get("within") == 0:
        raise words.error("within: nothing can overtake in no time")
    return Reorder(
        pick=pick,
        extent=found.get("extent", DEFAULT_EXTENT),
        extents=extents,
        within_ns=found.get("within", DEFAULT_WITHIN_NS),
    )


def parse_outages(text: str) -> tuple[Outage, ...]:
    """Times in which everything is lost, in their order.

    Raises:
        QuantityError: not in that form, or not one after the other.
    """
    words = Words(text, OUTAGE_FORM)
    outages: list[Outage] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*at\s+(\S+)\s+for\s+(\S+)\s*", part)
        if match is None:
            raise words.error(f"{shown(part.strip())} is none")
        start_ns, duration_ns = (_time(words, word) for word in match.groups())
        if duration_ns == 0:
            raise words.error("an outage must last longer than 0")
        if outages and start_ns < outages[-1].end_ns:
            raise words.error(f"at {match[1]} is before the end of the one before")
        outages.append(Outage(start_ns=start_ns, duration_ns=duration_ns))
    return tuple(outages)


def split_scheduled(text: object) -> tuple[int, str]:
    """The time in ns and the settings of ``at 5s: capacity 2mbit, loss 1%``.

    Raises:
        QuantityError: not in that form.
    """
    form = "at TIME: SETTING VALUE, such as at 5s: capacity 2mbit"
    given = text if isinstance(text, str) else ""
    match = re.fullmatch(r"\s*at\s+([^\s:]+)\s*:\s*(.+)", given, re.DOTALL)
    if match is None:
        raise QuantityError(f"expected {form} (got {shown(text)})", wanted=form, got=text)
    try:
        return units.parse_time_ns(match[1]), match[2].strip()
    except QuantityError as error:
        raise QuantityError(f"at: {error}", wanted=form, got=text) from error


def split_settings(text: str, known: tuple[str, ...]) -> dict[str, str]:
    """Settings as texts, from ``loss 2%, delay 5ms``.

    A comma begins a new setting only before a word: lists have commas, too.

    Raises:
        QuantityError: a part that does not begin with a known name, or one that comes twice.
    """
    form = "SETTING VALUE, SETTING VALUE, such as loss 2%, delay 5ms"
    if not text.strip():
        raise QuantityError(f"expected {form} (got nothing)", wanted=form, got=text)
    found: dict[str, str] = {}
    for part in _parts(text.strip()):
        word, *rest = part.split(maxsplit=1) or [""]
        name = word.replace("-", "_")
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise QuantityError(
                f"expected {form} (got {shown(text)}: unknown setting {shown(word)}{hint})",
                wanted=form,
                got=text,
            )
        if not rest:
            raise QuantityError(
                f"expected {form} (got {shown(text)}: the value of {word} is missing)",
                wanted=form,
                got=text,
            )
        if name in found:
            raise QuantityError(
                f"expected {form} (got {shown(text)}: {word} is given twice)", wanted=form, got=text
            )
        found[name] = rest[0].strip()
    return found


_NEXT_SETTING: Final = re.compile(rf"{QUOTED}|(?P<comma>,\s*)(?=(?!at\s)[A-Za-z][\w-]*(?:\s|$))")


def _parts(text: str) -> Iterator[str]:
    start = 0
    for match in _NEXT_SETTING.finditer(text):
        if match["comma"]:
            yield text[start : match.start()]
            start = match.end()
    yield text[start:]


def _time(words: Words, word: str) -> int:
    """A time in ns, with the whole text in the error."""
    try:
        return units.parse_time_ns(word)
    except QuantityError as error:
        raise words.error(str(error)) from error


def _count(words: Words, word: str) -> int:
    try:
        return count(word)
    except QuantityError as error:
        raise words.error(str(error)) from error


def _pick(words: Words) -> Pick:
    if words.take_if("every"):
        return Every(n=_count(words, words.take("N")))
    if words.take_if("packets"):
        return Listed(numbers=_numbers(words, words.take("the LIST")))
    word = words.take("the ratio")
    if word[:1].isalpha():
        known = ("every", "packets")
        raise words.error(f"{shown(word)} is not known here{did_you_mean(word, known)}")
    return Bernoulli(ratio=units.parse_ratio(word))


def _numbers(words: Words, text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", part)
        if match is None:
            raise words.error(f"{shown(part)} is no number and no range")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or (found and first <= found[-1]):
            raise words.error(f"the list must ascend (at {shown(part)})")
        if len(found) + last - first >= MAX_LISTED:
            raise words.error(f"a list has at most {MAX_LISTED} packets")
        found += range(first, last + 1)
    return tuple(found)


def _numbers_and_extents(words: Words, text: str) -> tuple[Listed, tuple[int, ...]]:
    numbers: list[int] = []
    extents: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,18})\+([0-9]{1,9})", part)
        if match is None:
            raise words.error(f"{shown(part)} is not NUMBER+EXTENT")
        if numbers and int(match[1]) <= numbers[-1]:
            raise words.error(f"the list must ascend (at {shown(part)})")
        numbers.append(int(match[1]))
        extents.append(_count(words, match[2]))
    return Listed(numbers=tuple(numbers)), tuple(extents)


__all__ = [
    "parse_capacity",
    "parse_loss",
    "parse_outages",
    "parse_pick",
    "parse_queue",
    "parse_reorder",
    "parse_variation",
    "split_scheduled",
    "split_settings",
]
