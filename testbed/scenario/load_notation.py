"""How people write what clients ask for: short texts of words, each quantity with its unit.

    rate      200/s | 10/s..200/s (rises or falls steadily over the duration)
    arrivals  poisson | periodic | trace FILE
    body      64kB | uniform 1kB..10kB | exponential mean 10kB | lognormal median 10kB sigma 1.5
    size      likewise
    think     likewise, with times
    mix       WEIGHT METHOD PATH [body SIZE] [size SIZE]
    cancel    1% after 50ms (or a distribution of times)

A path with blanks or commas, and such a file's name, stands in double quotes. Functions take the
text and return pure data, or raise `QuantityError`, which says what was expected and what was got.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from testbed import units
from testbed.errors import QuantityError, shown
from testbed.scenario.spread import Spread, parse_spread
from testbed.scenario.words import QUOTED, Words

Arrivals = Literal["poisson", "periodic", "trace"]
RATE_FORM: Final = f"{units.EVENT_RATE_FORM}, or a ramp such as 10/s..200/s"
ARRIVALS_FORM: Final = "poisson, periodic or trace FILE"
MIX_FORM: Final = (
    "WEIGHT METHOD PATH [body SIZE] [size SIZE], such as 3 GET / or 1 POST /items body 2kB"
)
CANCEL_FORM: Final = "PERCENTAGE after TIME, such as 1% after 50ms"
SIZE_FIELD: Final = "{size}"
"""In a path, what the size that was drawn is put in the place of."""
_METHOD: Final = re.compile(r"[A-Za-z]+", re.ASCII)


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests per second are due, from the beginning to the end of the duration."""

    first_per_s: float
    last_per_s: float

    @property
    def mean_per_s(self) -> float:
        """Over the whole duration."""
        return (self.first_per_s + self.last_per_s) / 2


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of request."""

    weight: float = 1.0
    method: str
    path: str
    """With `SIZE_FIELD` in it where there is a `size`."""
    body: Spread | None = None
    """Of the request's body in bytes."""
    size: Spread | None = None
    """In bytes, put into the path."""
    text: str
    """How it was written, its weight left out."""


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests the client gives up, and when."""

    ratio: float
    after: Spread
    """From the start of the request, in ns."""


def parse_rate(text: str) -> Rate:
    """A rate, or one that changes steadily.

    Raises:
        QuantityError: not in one of these forms, or zero.
    """
    if ".." not in str(text):
        value = units.parse_event_rate_per_s(text)
        return Rate(first_per_s=value, last_per_s=value)
    first, _, last = text.partition("..")
    try:
        ends = [units.parse_event_rate_per_s(end) for end in (first, last)]
    except QuantityError as error:
        message = f"expected {RATE_FORM} (got {shown(text)}: {error})"
        raise QuantityError(message, wanted=RATE_FORM, got=text) from error
    return Rate(first_per_s=ends[0], last_per_s=ends[1])


def parse_arrivals(text: str) -> tuple[Arrivals, str]:
    """How starts are spaced, and the file of a trace.

    Raises:
        QuantityError: not in one of these forms.
    """
    words = Words(text, ARRIVALS_FORM)
    if words.take_if("trace"):
        name = words.take_name("the FILE")
        words.end()
        return "trace", name
    kind = words.take_if("poisson", "periodic")
    words.end("poisson", "periodic", "trace")
    return ("poisson" if kind == "poisson" else "periodic"), ""


def parse_sizes(text: str) -> Spread:
    """A size or a distribution of sizes, in bytes.

    Raises:
        QuantityError: not in one of these forms.
    """
    return parse_spread(text, units.parse_size_bytes, units.SIZE_FORM)


def parse_times(text: str) -> Spread:
    """A time or a distribution of times, in ns.

    Raises:
        QuantityError: not in one of these forms.
    """
    return parse_spread(text, units.parse_time_ns, units.TIME_FORM)


def parse_cancel(text: str) -> Cancel:
    """Which requests are given up.

    Raises:
        QuantityError: not in that form.
    """
    words = Words(text, CANCEL_FORM)
    ratio = units.parse_ratio(words.take("the percentage"))
    if not words.take_if("after"):
        raise words.error("after TIME is missing")
    rest = _rest(words)
    if not rest:
        raise words.error("the TIME is missing")
    return Cancel(ratio=ratio, after=_within(words, rest, "after", parse_times))


def parse_entry(text: str) -> Entry:
    """One kind of request of a mix.

    Raises:
        QuantityError: not in that form.
    """
    words = Words(text, MIX_FORM)
    weight = _weight(words, words.take("the WEIGHT"))
    method = words.take("the METHOD")
    path = words.take_name("the PATH")
    wrong = entry_problem(method, path)
    if wrong:
        raise words.error(wrong)
    sizes: dict[str, Spread] = {}
    while words.next:
        name = words.take_if("body", "size")
        if not name:
            words.end("body", "size")
        if name in sizes:
            raise words.error(f"{name} is given twice")
        rest = _rest(words, "body", "size")
        if not rest:
            raise words.error(f"the value of {name} is missing")
        sizes[name] = _within(words, rest, name, parse_sizes)
    wrong = size_problem(path, sizes.get("size"))
    if wrong:
        raise words.error(wrong)
    return Entry(
        weight=weight,
        method=method,
        path=path,
        body=sizes.get("body"),
        size=sizes.get("size"),
        text=" ".join(text.split(maxsplit=1)[1].split()),
    )


def entry_problem(method: str, path: str) -> str:
    """What is wrong with a method and a path; nothing if all is well."""
    if _METHOD.fullmatch(method) is None:
        return f"expected an HTTP method (got {shown(method)})"
    return "" if path.startswith("/") else f'must begin with "/" (got {shown(path)})'


def size_problem(path: str, size: object) -> str:
    """A size and the place for it in the path belong together."""
    if size is not None and SIZE_FIELD not in path:
        return f"size needs {SIZE_FIELD} in the path (got {shown(path)})"
    if size is None and SIZE_FIELD in path:
        return f"{SIZE_FIELD} in the path needs a size"
    return ""


def split_mix(text: str) -> list[str]:
    """The kinds of a mix in one text, from ``3 GET /, 1 POST /items body 2kB``."""
    parts = [""]
    for piece in re.findall(rf'{QUOTED}|,|[^,"]+|"', text):
        if piece == ",":
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]


def _weight(words: Words, word: str) -> float:
    try:
        value = float(word) if re.fullmatch(r"[0-9.]{1,18}", word) else math.nan
    except ValueError:
        value = math.nan
    if not value > 0:
        raise words.error(f"the weight must be a number above 0 (got {shown(word)})")
    return value


def _rest(words: Words, *stop: str) -> str:
    found = []
    while words.next and words.next not in stop:
        found.append(words.take(""))
    return " ".join(found)


def _within(words: Words, text: str, name: str, parse: Callable[[str], Spread]) -> Spread:
    try:
        return parse(text)
    except QuantityError as error:
        raise words.error(f"{name}: {error}") from error
