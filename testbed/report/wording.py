"""The figures of the layers, in words.

Rules:

- A figure's name carries its unit; the words are its name without it, the number is scaled by it.
  A new figure of the analysis needs nothing here.
- Reading order everywhere: http at the top, link at the bottom, as protocol stacks are drawn.
- What was not observed is said to be so and never shown as zero; if all that was observed is zero,
  the word is `none`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from testbed.analysis.summary import Layer
from testbed.events import LAYERS
from testbed.report import format as scale

Aspect = Literal["loss", "reordering", "backpressure"]
ASPECTS: Final[tuple[Aspect, ...]] = ("loss", "reordering", "backpressure")
NOT_OBSERVED: Final = "not observed"
NONE: Final = "none"

_NOT_APPLICABLE: Final = frozenset(
    (layer, "reordering") for layer in ("socket", "syscall", "event_loop", "asgi")
)
"""What cannot happen there: nothing is in an order that could change."""
_UNITS: Final[Mapping[str, Callable[[float | None], str]]] = {
    "_ns": scale.duration,
    "_bit_s": scale.rate,
    "_ratio": scale.percent,
    "_per_s": scale.per_second,
    "_bytes": scale.size,
}
_QUANTILES: Final = frozenset({"min", "p50", "p90", "p95", "p99", "max"})
_EXTREMES: Final = frozenset({"longest", "largest", "maximum", "minimum", "most", "peak"})
"""First words of numbers that are no amounts: "longest run 3", not "3 longest run"."""
_ACRONYMS: Final = frozenset(
    {"ack", "cpu", "dsack", "ip", "rto", "rtt", "sack", "syn", "tcp", "ttl"}
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a layer, ready to be shown; or the quantiles of one."""

    words: str
    """What it is: ``retransmitted segments``."""
    value: str
    """How much, with its unit: ``341``; of quantiles the one that tells most, ``p99 2.31 ms``."""
    zero: bool
    """Whether nothing of it was observed to happen."""
    counted: bool = False
    """Whether it reads as "341 retransmitted segments" rather than "longest step 9 ms"."""
    detail: str = ""
    """All quantiles: ``p50 41 µs, p99 2.31 ms``."""

    def __str__(self) -> str:
        return f"{self.value} {self.words}" if self.counted else f"{self.words} {self.value}"

    @property
    def full(self) -> str:
        """The same with all that there is."""
        return f"{self.words} {self.detail}" if self.detail else str(self)


@dataclass(frozen=True, slots=True)
class Cell:
    """One aspect of one layer."""

    figures: tuple[Figure, ...]
    status: Literal["observed", "not observed", "not applicable"]

    @property
    def telling(self) -> tuple[Figure, ...]:
        """The figures that are not zero, in the order of the analysis: most telling first."""
        return tuple(figure for figure in self.figures if not figure.zero)

    def lines(self, most: int) -> list[str]:
        """At most `most` lines for a narrow column."""
        if self.status == "not applicable":
            return [scale.NOTHING]
        if self.status == "not observed":
            return [NOT_OBSERVED]
        return [str(figure) for figure in self.telling[:most]] or [NONE]


@dataclass(frozen=True, slots=True)
class Row:
    """One layer of the table."""

    layer: str
    observed: bool
    reason: str
    """Why it, or a part of it, was not observed."""
    cells: Mapping[Aspect, Cell]


def rows(layers: Mapping[str, Layer]) -> list[Row]:
    """The layer table, http first; every layer has a row, also one that the summary lacks."""
    return [_row(name, layers.get(name)) for name in reversed(LAYERS)]


def _row(name: str, layer: Layer | None) -> Row:
    if layer is None:
        layer = Layer(status="not observed", reason="no probe looked at it")
    cells = {aspect: _cell(name, aspect, getattr(layer, aspect)) for aspect in ASPECTS}
    return Row(name, layer.status == "observed", layer.reason, cells)


def _cell(layer: str, aspect: Aspect, figures: Mapping[str, Any] | None) -> Cell:
    shown: list[Figure] = []
    for name, value in (figures or {}).items():
        shares = name.endswith("_ratio") and shown and shown[-1].counted
        if shares and shown[-1].words.startswith(_words(name.removesuffix("_ratio"))):
            shown[-1] = _with_share(shown[-1], value)
        else:
            shown += _read(name, value)
    if shown:
        return Cell(tuple(shown), "observed")
    return Cell((), "not applicable" if (layer, aspect) in _NOT_APPLICABLE else "not observed")


def _with_share(figure: Figure, ratio: Any) -> Figure:
    """``421 lost packets`` and the ratio of the same: ``421 lost packets (1.98 %)``."""
    if figure.zero or not isinstance(ratio, int | float):
        return figure
    return replace(figure, words=f"{figure.words} ({scale.percent(ratio)})")


def _read(name: str, value: object) -> list[Figure]:
    """The figures in one entry: one for a number or for quantiles, one for each kind in a table."""
    words, unit = _name(name)
    if isinstance(value, Mapping):
        parts = {str(key): part for key, part in value.items() if part is not None}
        if not parts:
            return []
        if parts.keys() <= _QUANTILES:
            return [_quantiles(words, parts, unit or scale.count)]
        return [_measured(f"{words}: {key}", part, unit) for key, part in parts.items()]
    return [] if value is None else [_measured(words, value, unit)]


def _name(name: str) -> tuple[str, Callable[[float | None], str] | None]:
    for suffix, unit in _UNITS.items():
        if name.endswith(suffix):
            return _words(name.removesuffix(suffix)), unit
    return _words(name), None


def _words(name: str) -> str:
    return " ".join(part.upper() if part in _ACRONYMS else part for part in name.split("_"))


def _quantiles(words: str, parts: Mapping[str, Any], unit: Callable[[float | None], str]) -> Figure:
    texts = {key: f"{key} {unit(part)}" for key, part in parts.items()}
    chosen = next((texts[key] for key in ("p99", "max", "p90", "p50") if key in texts), "")
    zero = not any(parts.values())
    return Figure(
        words, chosen or next(iter(texts.values())), zero, detail=", ".join(texts.values())
    )


def _measured(words: str, value: Any, unit: Callable[[float | None], str] | None) -> Figure:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Figure(words, str(value), zero=not value)
    if unit is not None:
        return Figure(words, unit(value), zero=value == 0)
    if words.partition(" ")[0] in _EXTREMES or ":" in words:
        return Figure(words, scale.count(value), zero=value == 0)
    singular = value == 1 and words.endswith("s") and not words.endswith("ss")
    return Figure(words[:-1] if singular else words, scale.count(value), value == 0, counted=True)
