"""How people write the queue before a shaped interface.

50p | 64kB | DISCIPLINE [LIMIT] [SETTING VALUE]... [ecn]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from testbed import units
from testbed.errors import QuantityError, shown
from testbed.scenario.queues import LIMIT_NEEDED, LIMIT_UNITS, MARKING, SETTINGS, Discipline, Queue
from testbed.scenario.words import Words, count

QUEUE_FORM: Final = "50p, 64kB, or a discipline with settings such as codel 100p target 5ms ecn"
_RED_AVPKT_BYTES: Final = 1000
"""tc's default (tc-red(8))."""


def parse_queue(text: str) -> Queue:
    """The queue before a shaped interface.

    Raises:
        QuantityError: no limit, no known discipline, or a setting that it does not have.
    """
    words = Words(text, QUEUE_FORM)
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
    readers = {name: _READERS[kind] for name, kind in SETTINGS[named].items()}
    if named not in MARKING and "ecn" in text.split():
        why = "cake marks by itself" if named == "cake" else f"{named} cannot mark"
        raise words.error(f"ecn: {why}")
    values = dict(words.settings(readers, flags=("ecn",)))
    ecn = values.pop("ecn", False)
    if named in LIMIT_NEEDED and packets is None and size is None:
        raise words.error(f"the limit of {named} is missing")
    if named == "red" and size is not None:
        _check_red(words, values, size)
    discipline: Discipline = named  # type: ignore[assignment]
    return Queue(
        discipline=discipline, limit_packets=packets, limit_bytes=size, settings=values, ecn=ecn
    )


def _limit(words: Words, discipline: str) -> tuple[int | None, int | None]:
    """The limit that may follow the discipline's name, in the unit that it counts in."""
    if words.next[:1] not in tuple("0123456789+-."):
        return None, None
    packets, size = units.parse_queue(words.take("the limit"))
    counted = LIMIT_UNITS[discipline]
    if (packets is None) != (counted == "bytes"):
        example = "50p" if counted == "packets" else "64kB"
        raise words.error(f"the limit of {discipline} counts {counted}, such as {example}")
    return packets, size


def _check_red(words: Words, values: Mapping[str, float], limit: int) -> None:
    """The thresholds that tc will have, with its own defaults (tc/q_red.c, tc/tc_red.c)."""
    least, most = values.get("min", 0), values.get("max", 0)
    most = most or (least * 3 if least else limit // 4)
    least = least or most // 3
    if most <= least:
        raise words.error(f"max must be greater than min ({most:.0f} and {least:.0f} bytes)")
    needed = math.ceil(least / values.get("avpkt", _RED_AVPKT_BYTES))
    if "burst" in values and values["burst"] < needed:
        raise words.error(f"burst must be at least min / avpkt, which is {needed}")


def _packets(text: str) -> int:
    packets, _ = units.parse_queue(text)
    if packets is None:
        raise QuantityError(f"expected packets such as 100p (got {shown(text)})", got=text)
    return packets


def _size(text: str) -> int:
    """A size that has room in tc's 32 bits, at least a byte."""
    packets, size = units.parse_queue(text)
    if packets is not None or size is None:
        raise QuantityError(f"expected {units.SIZE_FORM} (got {shown(text)})", got=text)
    return size


def _time(text: str) -> int:
    """A time that has room in tc's 32 bits of microseconds."""
    time_ns = units.parse_time_ns(text)
    if not 0 < time_ns < 2**32 * units.NS_PER_US:
        raise QuantityError(f"must lie between 0 and 1 hour (got {shown(text)})", got=text)
    return time_ns


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "time": _time,
    "size": _size,
    "number": count,
    "%": units.parse_ratio,
    "packets": _packets,
}
