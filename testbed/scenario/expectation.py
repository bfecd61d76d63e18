"""What a run is expected to show: ``FIGURE RELATION VALUE``.

    http.failed == 0
    http.latency_ns.p99 < 200ms
    layers.tcp.loss.timeouts >= 1
    links.r1-server.forward.lost_packets == 9
    verdict.status == faithful

A figure is a place in summary.json, its parts joined by dots. A value has the unit that the
figure's name says, as in ``_ns``; where the name has none it is a number, a word, or true or false.
Words can only be equal or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from testbed import units
from testbed.errors import QuantityError, shown
from testbed.scenario.names import did_you_mean

Relation: TypeAlias = Literal["==", "!=", "<=", ">=", "<", ">"]
Value: TypeAlias = float | int | str | bool

PARTS: Final = (
    "backpressure", "http", "journeys", "layers", "ledger", "links", "state", "verdict",
)  # fmt: skip
"""What of a summary figures are taken from."""
_FORM: Final = 'FIGURE RELATION VALUE, such as "http.failed == 0" or "http.latency_ns.p99 < 200ms"'
_TEXT: Final = re.compile(r"\s*([^\s<>=!][^<>=!]*?)\s*(==|!=|<=|>=|<|>)\s*([^<>=!]+?)\s*\Z")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)\Z", re.ASCII)
Unit: TypeAlias = Literal["ns", "bytes", "ratio", "bit_s", "per_s"]
_READERS: Final[Mapping[Unit, Callable[[str], int | float]]] = {
    "ns": units.parse_time_ns,
    "bytes": units.parse_size_bytes,
    "ratio": units.parse_ratio,
    "bit_s": units.parse_capacity_bit_s,
    "per_s": units.parse_event_rate_per_s,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation, read."""

    figure: str
    relation: Relation
    value: Value


def parse_expectation(text: str) -> Rule:
    """Reads one expectation.

    Raises:
        QuantityError: not in that form, no such part of a summary, or a value without its unit.
    """
    match = _TEXT.match(text)
    if match is None:
        raise QuantityError(f"expected {_FORM} (got {shown(text)})", wanted=_FORM, got=text)
    figure, relation, value = match.groups()
    part = figure.partition(".")[0]
    if part not in PARTS:
        raise QuantityError(
            f"a figure begins with one of {', '.join(PARTS)} (got {shown(figure)})"
            f"{did_you_mean(part, PARTS)}",
            got=text,
        )
    try:
        wanted = _value(figure, value)
    except QuantityError as error:
        raise QuantityError(f"{figure}: {error}", got=text) from error
    if isinstance(wanted, str | bool) and relation not in ("==", "!="):
        raise QuantityError(f"{figure}: {value} can only be == or != (got {relation})", got=text)
    return Rule(figure, cast(Relation, relation), wanted)


def _value(figure: str, text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    unit = unit_of(figure)
    if unit is not None:
        return _READERS[unit](text)
    if not _NUMBER.match(text):
        if text[0].isdigit():
            raise QuantityError(f"expected a number without a unit (got {shown(text)})", got=text)
        return text
    return float(text) if "." in text else int(text)


def unit_of(figure: str) -> Unit | None:
    """The unit in a figure's name, or in that of the table it is in; None: it has none."""
    for name in reversed(figure.split(".")[-2:]):
        for unit in _READERS:
            if f"_{unit}_" in f"{name}_":
                return unit
    return None
