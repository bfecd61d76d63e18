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

Every function takes the text and returns a type of `testbed.scenario.impairments` or `.queues`, or
raises `QuantityError`, whose message says what was expected and what was got.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args

from testbed import units
from testbed.errors import QuantityError
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
from testbed.scenario.queues import LIMIT_UNITS, MARKING, SETTINGS, Discipline, Queue

PICK_FORM: Final = "1%, every N, or packets LIST such as 3,7,9-12"
LOSS_FORM: Final = (
    "1%, every N, packets LIST, segments LIST, gilbert-elliott p % r %, or markov p13 % p31 %"
)
REORDER_FORM: Final = f"{PICK_FORM}, and then extent N and within TIME"
VARIATION_FORM: Final = (
    f"a time such as 2ms, then {', '.join(DISTRIBUTIONS)} or table FILE, then overtaking"
)
OUTAGE_FORM: Final = "at TIME for TIME, such as at 2s for 500ms"
QUEUE_FORM: Final = "50p, 64kB, or a discipline with settings such as codel 100p target 5ms ecn"
MAX_LISTED: Final = 1_000_000
_NO_CORRELATION: Final = (
    "correlated loss is not offered: netem's is broken (a ratio of 0.3% with 25% drops nothing); "
    "for losses in bursts write gilbert-elliott p 1% r 25%"
)


class _Words:
    """The words of a text, taken one after the other."""

    def __init__(self, text: object, form: str) -> None:
        if not isinstance(text, str):
            raise QuantityError(
                f"expected {form} (got {text!r}, without a unit)", wanted=form, got=text
            )
        self.text = text
        self.form = form
        self._words = re.sub(r"\s*,\s*", ",", text).split()
        self._place = 0
        if not self._words:
            raise self.error("nothing")

    def error(self, why: str) -> QuantityError:
        got = f'"{self.text}": {why}' if self.text.strip() else "nothing"
        return QuantityError(f"expected {self.form} (got {got})", wanted=self.form, got=self.text)

    @property
    def next(self) -> str:
        """The next word, or nothing at the end."""
        return self._words[self._place] if self._place < len(self._words) else ""

    def take(self, what: str) -> str:
        """The next word, which must be there: `what` names it in the error."""
        word = self.next
        if not word:
            raise self.error(f"{what} is missing")
        self._place += 1
        return word

    def take_if(self, *known: str) -> str:
        """The next word if it is one of `known`, else nothing."""
        return self.take("") if self.next in known else ""

    def end(self, *known: str) -> None:
        """Nothing may be left."""
        if self.next:
            raise self.error(f'"{self.next}" is not known here{did_you_mean(self.next, known)}')

    def settings(self, known: Mapping[str, Callable[[str], Any]]) -> Iterator[tuple[str, Any]]:
        """The rest as pairs of a word of `known` and its value, each at most once."""
        seen: set[str] = set()
        while self.next:
            name = self.next
            if name not in known:
                self.end(*known)
            if name in seen:
                raise self.error(f"{name} is given twice")
            seen.add(name)
            self.take(name)
            value = self.take(f"the value of {name}")
            try:
                yield name, known[name](value)
            except QuantityError as error:
                raise self.error(f"{name}: {error}") from error


def parse_capacity(text: str) -> int | Trace:
    """A capacity in bit/s, or a trace of it.

    Raises:
        QuantityError: neither, or the trace cannot be read.
    """
    if isinstance(text, str) and text.split()[:1] == ["trace"]:
        words = text.split(maxsplit=1)
        if len(words) < 2:
            raise QuantityError(f'expected trace NAME or trace FILE (got "{text}")', got=text)
        return tables.describe_trace(words[1].strip())
    return units.parse_capacity_bit_s(text)


def parse_queue(text: str) -> Queue:
    """The queue before a shaped interface.

    Raises:
        QuantityError: no limit, no known discipline, or a setting that it does not have.
    """
    words = _Words(text, QUEUE_FORM)
    known = get_args(Discipline)
    named = words.take_if(*known)
    if not named:
        if words.next[:1].isalpha():
            words.end(*known)
        packets, size = units.parse_queue(words.take("the limit"))
        words.end(*known)
        return Queue(
            discipline="pfifo" if size is None else "bfifo",
            limit_packets=packets,
            limit_bytes=size,
        )
    packets, size = _limit(words, named)
    ecn = False
    values: dict[str, float] = {}
    readers = {name: _READERS[kind] for name, kind in SETTINGS[named].items()}
    rest = words.text.split()
    if "ecn" in rest:
        if named not in MARKING:
            why = "cake marks by itself" if named == "cake" else f"{named} cannot mark"
            raise words.error(f"ecn: {why}")
        ecn = True
        words = _Words(" ".join(word for word in rest if word != "ecn"), QUEUE_FORM)
        words.take("the discipline")
        _limit(words, named)
    values.update(words.settings(readers))
    if named in ("pfifo", "bfifo") and packets is None and size is None:
        raise words.error(f"the limit of {named} is missing")
    if values.get("max", math.inf) <= values.get("min", 0):
        raise words.error("max must be greater than min")
    discipline: Discipline = named  # type: ignore[assignment]
    return Queue(
        discipline=discipline, limit_packets=packets, limit_bytes=size, settings=values, ecn=ecn
    )


def _limit(words: _Words, discipline: str) -> tuple[int | None, int | None]:
    """The limit that may follow the discipline's name, in the unit that it counts in."""
    if not (words.next[:1].isdigit() or words.next[:1] == "."):
        return None, None
    packets, size = units.parse_queue(words.take("the limit"))
    counted = LIMIT_UNITS[discipline]
    if (packets is None) != (counted == "bytes"):
        example = "50p" if counted == "packets" else "64kB"
        raise words.error(f"the limit of {discipline} counts {counted}, such as {example}")
    return packets, size


def parse_variation(text: str) -> Variation:
    """The variation of a delay.

    Raises:
        QuantityError: no time, no known distribution, or its file cannot be read.
    """
    words = _Words(text, VARIATION_FORM)
    spread_ns = units.parse_time_ns(words.take("the time"))
    shape: Any = words.take_if(*DISTRIBUTIONS, "table") or "uniform"
    file = words.take("the FILE of the table") if shape == "table" else ""
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
    words = _Words(text, LOSS_FORM)
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
    words = _Words(text, PICK_FORM)
    pick = _pick(words)
    words.end("every", "packets")
    return pick


def parse_reorder(text: str) -> Reorder:
    """Which packets are overtaken, and by how many.

    Raises:
        QuantityError: none of the forms, or a value out of its bounds.
    """
    words = _Words(text, REORDER_FORM)
    extents: tuple[int, ...] = ()
    pick: Pick
    if words.next == "packets" and "+" in words.text:
        words.take("packets")
        pick, extents = _numbers_and_extents(words, words.take("the LIST"))
    else:
        pick = _pick(words)
    found = dict(words.settings({"extent": _count, "within": units.parse_time_ns}))
    if extents and "extent" in found:
        raise words.error("extent: each packet of the list has its own")
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
    words = _Words(text, OUTAGE_FORM)
    outages: list[Outage] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*at\s+(\S+)\s+for\s+(\S+)\s*", part)
        if match is None:
            raise words.error(f'"{part.strip()}" is none')
        start_ns, duration_ns = (units.parse_time_ns(word) for word in match.groups())
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
    match = re.fullmatch(r"\s*at\s+([^\s:]+)\s*:\s*(.+)", text) if isinstance(text, str) else None
    if match is None:
        raise QuantityError(f'expected {form} (got "{text}")', wanted=form, got=text)
    return units.parse_time_ns(match[1]), match[2]


def split_settings(text: str, known: tuple[str, ...]) -> dict[str, str]:
    """Settings as texts, from ``loss 2%, delay 5ms``.

    A comma begins a new setting only before the name of one: lists have commas, too.

    Raises:
        QuantityError: a part that does not begin with a known name, or one that comes twice.
    """
    form = "SETTING VALUE, SETTING VALUE, such as loss 2%, delay 5ms"
    found: dict[str, str] = {}
    for part in re.split(r",\s*(?=(?!at\s)[a-z][a-z_-]*\s)", text.strip()):
        name, _, value = part.strip().partition(" ")
        name = name.replace("-", "_")
        if name not in known:
            raise QuantityError(
                f'unknown setting "{name}"{did_you_mean(name, known)}', wanted=form, got=text
            )
        if not value.strip():
            raise QuantityError(f"the value of {name} is missing", wanted=form, got=text)
        if name in found:
            raise QuantityError(f"{name} is given twice", wanted=form, got=text)
        found[name] = value.strip()
    return found


def _pick(words: _Words) -> Pick:
    if words.take_if("every"):
        return Every(n=_count(words.take("N"), words))
    if words.take_if("packets"):
        return Listed(numbers=_numbers(words, words.take("the LIST")))
    word = words.take("the ratio")
    if word[:1].isalpha():
        known = ("every", "packets")
        raise words.error(f'"{word}" is not known here{did_you_mean(word, known)}')
    return Bernoulli(ratio=units.parse_ratio(word))


def _numbers(words: _Words, text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", part)
        if match is None:
            raise words.error(f'"{part}" is no number and no range')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or (found and first <= found[-1]):
            raise words.error(f'the list must ascend ("{part}")')
        if len(found) + last - first >= MAX_LISTED:
            raise words.error(f"a list has at most {MAX_LISTED} packets")
        found += range(first, last + 1)
    return tuple(found)


def _numbers_and_extents(words: _Words, text: str) -> tuple[Listed, tuple[int, ...]]:
    numbers: list[int] = []
    extents: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,18})\+(\d{1,9})", part)
        if match is None:
            raise words.error(f'"{part}" is not NUMBER+EXTENT')
        if numbers and int(match[1]) <= numbers[-1]:
            raise words.error(f'the list must ascend ("{part}")')
        numbers.append(int(match[1]))
        extents.append(_count(match[2], words))
    return Listed(numbers=tuple(numbers)), tuple(extents)


def _count(text: str, words: _Words | None = None) -> int:
    if re.fullmatch(r"\d{1,9}", text) is None or int(text) < 1:
        message = f'expected a whole number of at least 1 (got "{text}")'
        raise words.error(message) if words else QuantityError(message, got=text)
    return int(text)


def _packets(text: str) -> int:
    packets, _ = units.parse_queue(text)
    if packets is None:
        raise QuantityError(f'expected packets such as 100p (got "{text}")', got=text)
    return packets


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "time": units.parse_time_ns,
    "size": units.parse_size_bytes,
    "number": _count,
    "%": units.parse_ratio,
    "packets": _packets,
}
