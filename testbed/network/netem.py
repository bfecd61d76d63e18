"""netem's settings for one direction of a wire, as tc is told them and as they read back. Pure.

Rules:

- One command says all of a direction. `tc qdisc change` is told every setting anew, because
  netem_change (net/sched/sch_netem.c) keeps some that are left out (corruption, rate, the table of
  the delay) and forgets others (delay, loss, duplication).
- No correlation: netem's is broken (`loss 0.3% 25%` drops nothing).
- Shapes of the variation are our own tables, the same that the relay uses. netem's own uniform
  distribution needs none, until a live change must replace a table by it.

Order. netem sends by time: a packet that was delayed less overtakes one that was delayed more. With
a rate, netem_enqueue takes the time of the last packet in the queue as the earliest for the next
one, and adds the time that its bytes take (packet_time_ns). So a rate keeps the order, and one
that is high enough adds nothing: len * 10^9 / rate is a whole number of ns and 0 for a frame.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np

from testbed.network.queues import time_word
from testbed.network.relay.distributions import Table, named_table, table_of
from testbed.recording.manifest import Direction
from testbed.scenario.impairments import (
    Bernoulli,
    FourState,
    GilbertElliott,
    Variation,
)
from testbed.scenario.tables import DISTRIBUTION_SCALE
from testbed.units import NS_PER_US

LIMIT_PACKETS: Final = 100_000
"""Packets that may be in the delay line; one that finds it full is the emulator's overflow."""
ORDER_RATE: Final = "1000tbit"
"""Keeps the order and adds no time: a frame of 65535 bytes takes 0.52 ns of it."""
_ORDER_RATE_BYTES_S: Final = 125 * 10**12
MAX_DELAY_NS: Final = 274_877_000_000
"""32 bits of tc's ticks of 64 ns (tc/q_netem.c, get_ticks, in iproute2 6.1)."""
MAX_SPREAD_NS: Final = 2**31 - 1
"""What netem keeps of the variation (tabledist, sch_netem.c, takes 32 bits with a sign)."""
_PROBABILITIES: Final = 2**32 - 1
"""netem compares 32 random bits with a probability."""
MAX_ENTRIES: Final = 16_000
"""Of a table: a message of iproute2 6.1 has 32768 bytes ("message exceeded bound of 32768"), an
entry two, and some hundred bytes are for the rest. The kernel takes 16384 (NETEM_DIST_MAX)."""
_UNIFORM_ENTRIES: Final = 8192
"""Steps of a 4096th of the spread."""
_IN_A_LINE: Final = 16


def settings(way: Direction, *, changing: bool = False) -> str:
    """The words after `netem` for a direction.

    Args:
        way: the direction; what netem cannot do is refused before (directions.kernel_refusals).
        changing: for `tc qdisc change`: also what switches off what may have been on.
    """
    words = [f"limit {LIMIT_PACKETS}"]
    variation = way.delay_variation
    if variation is not None and variation.spread_ns:
        words.append(f"delay {time_word(way.delay_ns)} {time_word(variation.spread_ns)}")
        if table_name(variation, changing=changing):
            words.append(f"distribution {table_name(variation, changing=changing)}")
    elif way.delay_ns:
        words.append(f"delay {time_word(way.delay_ns)}")
    words += _loss_words(way)
    if (duplicate := _ratio(way.duplicate)) > 0:
        words.append(f"duplicate {_percent(duplicate)}")
    corrupt = _ratio(way.corrupt)
    if corrupt > 0 or changing:
        words.append(f"corrupt {_percent(corrupt)}")
    if keeps_order(way, changing=changing):
        words.append(f"rate {ORDER_RATE}")
    elif changing:
        words.append("rate 0bit")
    return " ".join(words)


def keeps_order(way: Direction, *, changing: bool = False) -> bool:
    """Whether the order must be kept by a rate: the delay varies, or was longer until now."""
    if way.delay_variation is None or not way.delay_variation.spread_ns:
        return changing
    return not way.delay_variation.overtaking


def _loss_words(way: Direction) -> list[str]:
    loss = way.loss
    if isinstance(loss, Bernoulli) and loss.ratio > 0:
        return [f"loss random {_percent(loss.ratio)}"]
    if isinstance(loss, GilbertElliott):
        values = [loss.p, loss.r, loss.bad_loss, loss.good_loss]
        return ["loss gemodel " + " ".join(_percent(value) for value in values)]
    if isinstance(loss, FourState):
        p13, p14 = _pair(loss.p13, loss.p14)
        p31, p32 = _pair(loss.p31, loss.p32)
        values = [p13, p31, p32, loss.p23, p14]
        return ["loss state " + " ".join(_percent(value) for value in values)]
    return []


def _pair(first: float, second: float) -> tuple[float, float]:
    """Two probabilities of leaving one state, cut so that their sum has room.

    netem adds them in 32 bits (loss_4state): two halves, each rounded up, would sum to 0.
    """
    one, two = round(first * _PROBABILITIES), round(second * _PROBABILITIES)
    if one + two > _PROBABILITIES:
        return first, (_PROBABILITIES - one) / _PROBABILITIES
    return first, second


def _ratio(pick: object) -> float:
    return pick.ratio if isinstance(pick, Bernoulli) else 0.0


def _percent(ratio: float) -> str:
    """A probability as tc reads it; ten digits say each of its 32 bits."""
    return f"{ratio * 100:.10f}".rstrip("0").rstrip(".") + "%"


def table_name(variation: Variation | None, *, changing: bool = False) -> str:
    """The name of the table that tc is told; empty where it is told none."""
    if variation is None or not variation.spread_ns:
        return ""
    if variation.distribution == "uniform":
        return "uniform" if changing else ""
    if variation.distribution == "table":
        digest = hashlib.sha256(table_of(variation).tobytes()).hexdigest()
        return f"table-{digest[:12]}"
    return variation.distribution


def table_text(variation: Variation) -> str:
    """The file of its table, in iproute2's format (tc/q_netem.c, get_distribution)."""
    table = table_of(variation) if variation.distribution == "table" else _named(variation)
    lines = [
        " ".join(str(entry) for entry in table[start : start + _IN_A_LINE])
        for start in range(0, len(table), _IN_A_LINE)
    ]
    head = f"# {variation.distribution}: entry i of n is the value below which (i + 1/2) / n lie"
    return "\n".join([head, f"# {DISTRIBUTION_SCALE} is one standard deviation", *lines, ""])


def _named(variation: Variation) -> Table:
    if variation.distribution != "uniform":
        return named_table(variation.distribution)
    shares = (np.arange(_UNIFORM_ENTRIES) + 0.5) / _UNIFORM_ENTRIES
    table: Table = np.rint((2 * shares - 1) * DISTRIBUTION_SCALE).astype(np.int64)
    return table


def differences(way: Direction, options: dict[str, Any], *, changing: bool = False) -> list[str]:
    """Settings that read back as others, in words; empty when netem is what was asked for.

    The shape of a variation cannot be read back: the kernel does not give tables out. A variation
    of a delay of 0 cannot either: tc prints none without a delay (tc/q_netem.c).

    Args:
        way: the direction as it was set.
        options: of netem in ``tc -j qdisc show``: times in seconds, ratios, bytes per second.
        changing: as it was for `settings`.
    """
    variation = way.delay_variation
    spread_ns = variation.spread_ns if variation else 0
    found = options.get("delay", {})
    checks = [
        ("limit", LIMIT_PACKETS, options.get("limit"), 0.0),
        ("delay in s", way.delay_ns / 1e9, found.get("delay", 0.0), _loss_s(way.delay_ns)),
        *_loss_checks(way, options),
        ("duplicate", _ratio(way.duplicate), _part(options, "duplicate"), None),
        ("corrupt", _ratio(way.corrupt), _part(options, "corrupt"), None),
        ("reorder", 0.0, _part(options, "reorder"), 0.0),
    ]
    if found.get("delay", 0.0):
        checks.append(
            ("delay variation in s", spread_ns / 1e9, found.get("jitter", 0.0), _loss_s(spread_ns))
        )
    rate = _ORDER_RATE_BYTES_S if keeps_order(way, changing=changing) else 0
    # tc prints six digits of it.
    checks.append(("rate in B/s", rate, options.get("rate", {}).get("rate", 0), rate * 1e-5))
    texts = [
        f"{what} was set to {wanted} and reads back as {got}"
        for what, wanted, got, allowed in checks
        if got is None or abs(got - wanted) > (_of_ratio(wanted) if allowed is None else allowed)
    ]
    kind = _loss_kind(way)
    others = [key for key in options if key.startswith("loss") and key != kind]
    return texts + [f"{key} was not set and reads back" for key in [*others, *_other(options)]]


def _other(options: dict[str, Any]) -> list[str]:
    return [key for key in ("slot", "ecn") if options.get(key)]


def _loss_s(time_ns: int) -> float:
    """What is lost: microseconds and ticks of 64 ns, each cut twice, and six digits printed."""
    return (2 * NS_PER_US + 1e-5 * time_ns + 1) / 1e9


def _of_ratio(ratio: float) -> float:
    """32 bits, printed with six digits."""
    return 1e-5 * ratio + 2 / _PROBABILITIES


def _part(options: dict[str, Any], name: str) -> float:
    return float(options.get(name, {}).get(name, 0.0))


def _loss_kind(way: Direction) -> str:
    if isinstance(way.loss, GilbertElliott):
        return "loss-gemodel"
    return "loss-state" if isinstance(way.loss, FourState) else "loss-random"


def _loss_checks(
    way: Direction, options: dict[str, Any]
) -> list[tuple[str, float, float | None, float | None]]:
    found = options.get(_loss_kind(way), {})
    if isinstance(way.loss, GilbertElliott):
        loss = way.loss
        wanted = {"p": loss.p, "r": loss.r, "1-h": loss.bad_loss, "1-k": loss.good_loss}
    elif isinstance(way.loss, FourState):
        wanted = {name: getattr(way.loss, name) for name in ("p13", "p31", "p32", "p23", "p14")}
    else:
        return [("loss", _ratio(way.loss), found.get("loss", 0.0), None)]
    return [(f"loss {name}", value, found.get(name), None) for name, value in wanted.items()]
