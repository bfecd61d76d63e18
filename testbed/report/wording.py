"""The figures of the layers, in words.

Rules:

- A figure's name carries its unit and quantile (``relay_late_ns_p99``); the words are the rest of
  it, the number is scaled by the unit. A new figure of the analysis needs nothing here.
- Reading order everywhere: http at the top, link at the bottom, as protocol stacks are drawn.
- What was not observed is said to be so and never shown as zero; if all that was observed is zero,
  the word is `none`. What a layer does not have by its nature is a dash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from testbed.analysis.summary import Expectation, Layer, Summary
from testbed.events import LAYERS
from testbed.report import format as scale
from testbed.scenario.expectation import parse_expectation, unit_of

Aspect = Literal["loss", "reordering", "backpressure"]
ASPECTS: Final[tuple[Aspect, ...]] = ("loss", "reordering", "backpressure")
NOT_OBSERVED: Final = "not observed"
NONE: Final = "none"
NO_BREAK: Final = "\u00a0"

_UNITS: Final[Mapping[str, Callable[[float | None], str]]] = {
    "ns": scale.duration,
    "bit_s": scale.rate,
    "ratio": scale.percent,
    "per_s": scale.per_second,
    "bytes": scale.size,
}
_NAME: Final = re.compile(
    rf"(?P<stem>.+?)(?:_(?P<unit>{'|'.join(_UNITS)}))?(?:_(?P<quantile>min|p50|p90|p95|p99|max))?"
)
_TELLING_QUANTILES: Final = ("p99", "p95", "max", "p90", "p50", "min")
_WORDS: Final[Mapping[str, str]] = {
    "in_ce_packets": "ECN-marked packets",
    "three_reordered_packets": "packets overtaken by 3 or more",
    "in_discards_packets": "packets discarded on arrival",
    "out_discards_packets": "packets discarded on departure",
    "in_header_errors_packets": "packets with a bad header",
    "in_address_errors_packets": "packets with a bad address",
    "in_checksum_error_packets": "packets with a bad checksum",
    "out_no_routes_packets": "packets without a route",
    "reassembly_fails_packets": "failed reassemblies",
    "in_error_segments": "segments received in error",
    "reordering_extent_packets": "largest extent",
    "late_ns": "started late",
    "first_byte_ns": "wait for the first byte",
    "send_ns": "sending the request",
    "receive_ns": "reading the answer",
    "connect_ns": "connecting",
    "per_send_bytes": "bytes per send",
    "per_recv_bytes": "bytes per recv",
    "time_waiting_connected_ns": "time connecting",
    "single_send_wait_ns": "one wait in send",
    "single_receive_wait_ns": "one wait in receive",
    "received_in_softirq_packets": "packets received in a softirq",
    "received_in_process_packets": "packets received in a system call",
    "unseen_switches": "wake-ups of unknown length",
    "descriptors_in_use_most": "descriptors in use",
    "wakeups": "wake-ups",
    "wakeup_ns": "wake-up",
}
"""Where the name alone would not be understood."""
_TOTALS: Final = frozenset(
    {
        "sent_packets", "requests", "busy_ns", "received_in_softirq_packets",
        "received_in_process_packets", "wakeups", "unseen_switches", "system_calls",
    }
)  # fmt: skip
"""What the others are a part of: neither good nor bad, so no news."""
_EXTREMES: Final = frozenset({"longest", "largest", "maximum", "minimum", "most", "peak"})
"""First words of numbers that are no amounts: "longest run 3 packets"."""
_LIMITS: Final[Mapping[str, str]] = {"descriptor_limit": "descriptors_in_use_most"}
"""Numbers that are said with the one that they bound: "17 of 1024 descriptors in use"."""
_ACRONYMS: Final[Mapping[str, str]] = {
    **{word: word.upper() for word in ("ack", "cpu", "dsack", "ip", "rto", "rtt", "sack", "syn")},
    "acks": "ACKs",
    "dsacks": "DSACKs",
}


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
    total: bool = False
    """Whether it is only what others are a part of."""

    def __str__(self) -> str:
        return self.unbroken.replace(NO_BREAK, " ")

    @property
    def unbroken(self) -> str:
        """The same with no-break spaces in the value, for a column that wraps."""
        value = self.value.replace(" ", NO_BREAK)
        return f"{value} {self.words}" if self.counted else f"{self.words} {value}"

    @property
    def full(self) -> str:
        """The same with all that there is, numbers and units kept together."""
        if not self.detail:
            return self.unbroken
        parts = (part.replace(" ", NO_BREAK) for part in self.detail.split(", "))
        return f"{self.words} {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One aspect of one layer."""

    figures: tuple[Figure, ...]
    unseen: tuple[str, ...]
    """Words of the figures that were not observed."""
    status: Literal["observed", "not observed", "not applicable"]

    @property
    def telling(self) -> tuple[Figure, ...]:
        """The figures that are news, in the order of the analysis: most telling first."""
        return tuple(one for one in self.figures if not one.zero and not one.total)

    @property
    def zeros(self) -> tuple[str, ...]:
        """Words of what was looked for and did not happen."""
        words = (one.words for one in self.figures if one.zero and not one.total)
        return tuple(dict.fromkeys(words))

    def lines(self, most: int) -> list[str]:
        """At most `most` lines for a narrow column."""
        if self.status == "not applicable":
            return [scale.NOTHING]
        if self.status == "not observed":
            return [NOT_OBSERVED]
        return [figure.unbroken for figure in self.telling[:most]] or [NONE]


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
    cells = {aspect: _cell(getattr(layer, aspect)) for aspect in ASPECTS}
    return Row(name, layer.status == "observed", layer.reason, cells)


def _cell(figures: Mapping[str, Any] | None) -> Cell:
    if figures is None:
        return Cell((), (), "not applicable")
    shown: list[Figure] = []
    unseen: list[str] = []
    for name, value in _joined(figures).items():
        if value is None:
            unseen.append(_words(name))
        elif not (shown and _belongs(shown, name, value)):
            shown += _read(name, value)
    return Cell(tuple(shown), tuple(unseen), "observed" if shown else "not observed")


def _joined(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The same with quantiles of one thing put together: ``lag_ns_p50`` is ``lag_ns``'s ``p50``."""
    joined: dict[str, Any] = {}
    for name, value in figures.items():
        match = _NAME.fullmatch(name)
        quantile = match["quantile"] if match else None
        if quantile is None or value is None:
            joined.setdefault(name.removesuffix(f"_{quantile}"), value)
            continue
        stem = name.removesuffix(f"_{quantile}")
        if isinstance(joined.get(stem), int | float):  # the sum of what these are quantiles of
            stem = f"single_{stem}"
        if not isinstance(joined.get(stem), dict):
            joined[stem] = {}
        joined[stem][quantile] = value
    return joined


def _belongs(shown: list[Figure], name: str, value: Any) -> bool:
    """Puts a ratio, a limit or a process beside the figure before it, where it is of the same."""
    last = shown[-1]
    bounded = _LIMITS.get(name)
    if bounded and last.words == _words(bounded) and isinstance(value, int | float):
        shown[-1] = replace(last, value=f"{last.value} of {scale.count(value)}")
        return True
    stem, _, kind = name.rpartition("_")
    if not last.words.startswith(_words(stem)):
        return False
    if kind == "process" and isinstance(value, str):
        if last.counted:
            shown[-1] = replace(last, words=f"{last.words} ({value})")
        else:
            shown[-1] = replace(last, value=f"{last.value} ({value})")
        return True
    if kind == "ratio" and last.counted and isinstance(value, int | float):
        if not last.zero:
            share = scale.percent(value).replace(" ", NO_BREAK)
            shown[-1] = replace(last, words=f"{last.words} ({share})")
        return True
    return False


def _read(name: str, value: object) -> list[Figure]:
    """The figures in one entry: one for a number or for quantiles, one for each kind in a table."""
    match = _NAME.fullmatch(name)
    unit = _UNITS.get(match["unit"]) if match and match["unit"] else None
    words = _words(name)
    if isinstance(value, Mapping):
        parts = {str(key): part for key, part in value.items() if part is not None}
        if not parts:
            return []
        if parts.keys() <= set(_TELLING_QUANTILES):
            return [_quantiles(words, parts, unit or scale.count)]
        return [_kind(key, words, part, unit) for key, part in parts.items()]
    return [replace(_measured(words, value, unit), total=name in _TOTALS)]


def no_http(summary: Summary) -> str:
    """Why there are no numbers of the clients."""
    layer = summary.layers.get("http")
    told = layer.reason if layer is not None and layer.status == NOT_OBSERVED else ""
    return told or "no client left a record"


def expectation(one: Expectation) -> str:
    """What was expected, and what was seen."""
    if one.reason:
        return f"{one.expect} ({one.reason})"
    seen, unit = str(one.value), unit_of(parse_expectation(one.expect).figure)
    if isinstance(one.value, bool):
        seen = seen.lower()
    elif isinstance(one.value, int | float):
        seen = scale.count(one.value) if unit is None else _UNITS[unit](one.value)
    return f"{one.expect} ({seen})" if one.holds else f"{one.expect} (it was {seen})"


def spoken(scenario: Mapping[str, Any]) -> str:
    """What clients and servers spoke: ``HTTP/2 over TLS and IPv6``."""
    below = [
        *(["TLS"] if scenario.get("tls") else []),
        *(["IPv6"] if scenario.get("ip") == 6 else []),
    ]
    return " over ".join(
        [f"HTTP/{scenario.get('http', '1.1')}", *([" and ".join(below)] if below else [])]
    )


def _words(name: str) -> str:
    """What a figure is, without its unit: ``send buffer limited``."""
    if name in _WORDS:
        return _WORDS[name]
    match = _NAME.fullmatch(name)
    stem = match["stem"] if match else name
    return " ".join(_ACRONYMS.get(part, part) for part in stem.split("_"))


def _kind(key: str, words: str, value: Any, unit: Callable[[float | None], str] | None) -> Figure:
    """One kind of several, such as one name of a failure: ``2 ReadTimeout``."""
    if unit is None and isinstance(value, int | float):
        return Figure(key, scale.count(value), zero=value == 0, counted=True)
    return _measured(f"{words}, {key}", value, unit)


def _quantiles(words: str, parts: Mapping[str, Any], unit: Callable[[float | None], str]) -> Figure:
    texts = {key: f"{key} {unit(part)}" for key, part in parts.items()}
    chosen = next(texts[key] for key in _TELLING_QUANTILES if key in texts)
    return Figure(words, chosen, not any(parts.values()), detail=", ".join(texts.values()))


def _measured(words: str, value: Any, unit: Callable[[float | None], str] | None) -> Figure:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Figure(words, str(value), zero=not value)
    if unit is not None:
        return Figure(words, unit(value), zero=value == 0)
    if value == 1 and words.endswith("s") and not words.endswith("ss"):
        words = words[:-1]
    if words.partition(" ")[0] in _EXTREMES:
        what, _, noun = words.rpartition(" ")
        return Figure(what, f"{scale.count(value)} {noun}", zero=value == 0)
    return Figure(words, scale.count(value), value == 0, counted=True)
