"""The rules of a wire and a queue as people write them: `notation` the other way round.

Lists and numbers are shortened; what can be read back is in the manifest.
"""

from __future__ import annotations

from typing import Final

from testbed.scenario.impairments import (
    DEFAULT_WITHIN_NS,
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
from testbed.scenario.queues import SETTINGS, Queue
from testbed.scenario.words import quoted
from testbed.units import NS_PER_MS, NS_PER_S, NS_PER_US

_MOST_LISTED: Final = 6
_TIMES: Final = ((NS_PER_S, "s"), (NS_PER_MS, "ms"), (NS_PER_US, "us"))


def loss_text(loss: Loss) -> str:
    """``1%``, ``every 50``, ``gilbert-elliott p 1% r 25%`` ..."""
    match loss:
        case GilbertElliott():
            text = f"gilbert-elliott p {_percent(loss.p)} r {_percent(loss.r)}"
            text += "" if loss.bad_loss == 1 else f" 1-h {_percent(loss.bad_loss)}"
            return text + ("" if loss.good_loss == 0 else f" 1-k {_percent(loss.good_loss)}")
        case FourState():
            names = ("p13", "p31", "p32", "p23", "p14")
            usual = {"p32": 0.0, "p23": 1.0, "p14": 0.0}
            values = [(name, float(getattr(loss, name))) for name in names]
            given = [f"{name} {_percent(v)}" for name, v in values if usual.get(name) != v]
            return f"markov {' '.join(given)}"
        case Segments():
            return f"segments {_listed(loss.ordinals)}"
        case _:
            return pick_text(loss)


def pick_text(pick: Pick) -> str:
    """``1%``, ``every 50``, ``packets 3,7``."""
    match pick:
        case Bernoulli():
            return _percent(pick.ratio)
        case Every():
            return f"every {pick.n}"
        case Listed():
            return f"packets {_listed(pick.numbers)}"


def reorder_text(reorder: Reorder) -> str:
    """``1% extent 3``."""
    within = reorder.within_ns
    wait = "" if within == DEFAULT_WITHIN_NS else f" within {_time(within)}"
    if reorder.extents and isinstance(reorder.pick, Listed):
        pairs = zip(reorder.pick.numbers, reorder.extents, strict=False)
        parts = [f"{number}+{extent}" for number, extent in pairs]
        return f"packets {_shortened(parts)}{wait}"
    return f"{pick_text(reorder.pick)} extent {reorder.extent}{wait}"


def variation_text(variation: Variation) -> str:
    """``2ms normal overtaking``."""
    shape = variation.distribution
    if shape == "table":
        shape += f" {quoted(variation.file)}"  # type: ignore[assignment]
    return f"{_time(variation.spread_ns)} {shape}" + " overtaking" * variation.overtaking


def outages_text(outages: tuple[Outage, ...]) -> str:
    """``at 2s for 500ms``."""
    parts = [f"at {_time(one.start_ns)} for {_time(one.duration_ns)}" for one in outages]
    return _shortened(parts, ", ")


def trace_text(trace: Trace) -> str:
    """``trace cellular``."""
    return f"trace {quoted(trace.name)}"


def queue_text(queue: Queue) -> str:
    """``codel 100p target 5ms ecn``; a drop-tail queue is its limit alone."""
    words: list[str] = [] if queue.is_drop_tail else [queue.discipline]
    if queue.limit_packets is not None:
        words.append(f"{queue.limit_packets}p")
    if queue.limit_bytes is not None:
        words.append(_size(queue.limit_bytes))
    kinds = SETTINGS[queue.discipline]
    for name, value in queue.settings.items():
        words += [name, _setting(value, kinds.get(name, "number"))]
    return " ".join([*words, *(["ecn"] if queue.ecn else [])])


def _setting(value: float, kind: str) -> str:
    match kind:
        case "time":
            return _time(round(value))
        case "size":
            return _size(round(value))
        case "%":
            return _percent(value)
        case "packets":
            return f"{value:g}p"
        case _:
            return f"{value:g}"


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.6g}%"


def _time(value_ns: int) -> str:
    for unit_ns, name in _TIMES:
        if value_ns >= unit_ns:
            return f"{value_ns / unit_ns:.6g}{name}"
    return f"{value_ns}ns" if value_ns else "0"


def _size(value_bytes: int) -> str:
    return f"{value_bytes / 1000:.6g}kB" if value_bytes >= 1000 else f"{value_bytes}B"


def _listed(numbers: tuple[int, ...]) -> str:
    """Numbers with runs as ranges."""
    parts: list[str] = []
    first = last = -2
    for number in (*numbers, -2):
        if number == last + 1:
            last = number
            continue
        if first >= 0:
            parts.append(f"{first}-{last}" if last > first else f"{first}")
        first = last = number
        if len(parts) > _MOST_LISTED:
            break
    return _shortened(parts)


def _shortened(parts: list[str], between: str = ",") -> str:
    more = between + "..." if len(parts) > _MOST_LISTED else ""
    return between.join(parts[:_MOST_LISTED]) + more
