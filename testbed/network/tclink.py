"""Mininet's `TCLink` parameters as settings of a link. Pure.

``addLink(a, b, cls=TCLink, bw=10, delay="5ms", jitter="1ms", loss=1, max_queue_size=100)`` means
here what `TCIntf.config` of Mininet 2.3 (mininet/link.py) asks tc for, with one difference that is
the point of this testbed: delay and loss happen in the middle of the link and not in the sender's
own queue (docs/explanation/links.md). What cannot mean the same is refused; what means something
else than it seems to is warned of.

    bw               Mbit/s, with six decimals; above 1000 Mininet leaves the link unshaped: refused
    speedup          takes the place of bw where it is greater than 0 and the sender's name begins
                     with s, whatever kind of node it is
    delay            as for tc 6.1: a number without a unit is microseconds
    jitter           netem's: uniform, packets may overtake one another; without a delay tc refuses
                     the command and Mininet goes on without netem: refused
    loss             percent, with five decimals
    max_queue_size   packets, netem's limit below the shaper, which holds what is delayed and what
                     waits; here of the queue alone (default: 1000). Below RED it limits the bytes
                     of so many full frames
    enable_red       Mininet's RED: 30 000 to 35 000 bytes, probability 1, limit 1 000 000 bytes
    enable_ecn       the same, marking; wins over enable_red
    use_htb          what is used anyway; HTB's burst is the testbed's and not Mininet's 15 kB
    use_hfsc, use_tbf, latency_ms   refused: shaping is by HTB
    gro, disable_gro, txo, rxo      without effect: offloads are off
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from numbers import Real
from typing import Any, Final, TypeGuard

KEYS: Final = (
    "bw", "jitter", "max_queue_size", "use_htb", "use_hfsc", "use_tbf", "latency_ms", "speedup",
    "enable_ecn", "enable_red", "gro", "disable_gro", "txo", "rxo",
)  # fmt: skip
"""The parameters that only Mininet has; `delay` and `loss` are the testbed's as well."""
MAX_BW_MBIT_S: Final = 1000
"""TCIntf.bwParamMax: beyond it Mininet says so and does nothing."""
DEFAULT_QUEUE_PACKETS: Final = 1000
"""netem's limit and the txqueuelen of an interface, whichever is the queue below Mininet's HTB."""
RED_LIMIT_BYTES: Final = 1_000_000
_FRAME_BYTES: Final = 1514
_RED: Final = "red {limit}B min 30000B max 35000B avpkt 1500B burst 20 probability 100%"
_TC_TIMES_NS: Final = {
    "": 1_000, "us": 1_000, "usec": 1_000, "usecs": 1_000,
    "ms": 10**6, "msec": 10**6, "msecs": 10**6, "s": 10**9, "sec": 10**9, "secs": 10**9,
    "ns": 1, "nsec": 1, "nsecs": 1,
}  # fmt: skip
"""Units of time as tc reads them (tc/tc_util.c, get_time), and ns, which later versions know."""
_TC_TIME: Final = re.compile(r"\+?((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,2})?)\s*([a-z]*)", re.ASCII)
_REFUSED: Final = {
    "use_hfsc": "shaping is by HTB; leave it out and give bw",
    "use_tbf": "shaping is by HTB; leave it out and give bw and max_queue_size",
    "latency_ms": "it belongs to tbf; give max_queue_size",
}
_SAME: Final = {
    "bw": "capacity",
    "max_queue_size": "queue",
    "enable_ecn": "queue",
    "enable_red": "queue",
    "jitter": "delay_variation",
}
"""The testbed's setting that a parameter would replace."""

OnProblem = Callable[[str, str], None]
"""Is told a parameter and what is wrong with it, or what is surprising about it."""


def translate(
    info: Mapping[str, Any], sender: str, problem: OnProblem, warning: OnProblem
) -> dict[str, Any]:
    """`info` with Mininet's parameters replaced by the testbed's settings.

    Args:
        info: parameters of a link, or of one of its interfaces; with ``cls``, where it is known.
        sender: the node that sends over it.
        problem: is told a parameter and what is wrong with it.
        warning: is told a parameter whose meaning may surprise.
    """
    settings = {key: value for key, value in info.items() if key not in (*KEYS, "cls")}
    own = {key: info[key] for key in KEYS if info.get(key) is not None}
    for key, why in _REFUSED.items():
        if own.get(key):
            problem(key, f"this TCLink parameter cannot be honoured: {why}")
    for key, setting in _SAME.items():
        if own.get(key) and settings.get(setting) is not None:
            problem(key, f"it stands beside {setting}, which means the same: give one of them")
            own.pop(key)
    _shaping(own, settings, sender, problem, warning)
    is_tclink = bool(own) or getattr(info.get("cls"), "__name__", "") in ("TCLink", "TCULink")
    _delay(own, settings, is_tclink, problem, warning)
    _loss(settings, problem)
    return settings


def _shaping(
    own: Mapping[str, Any],
    settings: dict[str, Any],
    sender: str,
    problem: OnProblem,
    warning: OnProblem,
) -> None:
    bw = own.get("bw")
    if bw is None:
        for key in ("max_queue_size", "enable_ecn", "enable_red", "speedup"):
            if own.get(key):
                problem(key, "it needs a bw: nothing waits without one")
        return
    if not _is_number(bw) or round(bw * 1e6) < 1:
        problem("bw", f"expected a number of Mbit/s greater than 0 (got {bw!r})")
        return
    if bw > MAX_BW_MBIT_S:
        problem(
            "bw",
            f"Mininet ignores a bw above {MAX_BW_MBIT_S} (got {bw}): "
            f'write capacity="{bw:g}mbit" to have it',
        )
        return
    speedup = own.get("speedup", 0)
    if not _is_number(speedup):
        problem("speedup", f"expected a number of Mbit/s (got {speedup!r})")
        return
    if speedup > 0 and sender[:1] == "s":
        bw = speedup
    settings["capacity"] = f"{round(bw * 1e6)}bit"
    if settings.get("queue") is None:
        settings["queue"] = _queue(own, problem, warning)


def _queue(own: Mapping[str, Any], problem: OnProblem, warning: OnProblem) -> str | None:
    packets = own.get("max_queue_size")
    # Mininet writes it with %d: a fraction is cut off.
    if packets is not None and not (_is_number(packets) and 1 <= packets < 2**31):
        problem("max_queue_size", f"expected packets, at least 1 (got {packets!r})")
        return None
    if not own.get("enable_ecn") and not own.get("enable_red"):
        return f"{int(packets or DEFAULT_QUEUE_PACKETS)}p"
    limit = RED_LIMIT_BYTES
    if packets is not None:
        limit = min(RED_LIMIT_BYTES, int(packets) * _FRAME_BYTES)
        warning(
            "max_queue_size",
            f"RED counts bytes: {int(packets)} packets are {limit} bytes, at most "
            f"{RED_LIMIT_BYTES}",
        )
    red = _RED.format(limit=limit)
    return f"{red} ecn" if own.get("enable_ecn") else red


def _delay(
    own: Mapping[str, Any],
    settings: dict[str, Any],
    is_tclink: bool,
    problem: OnProblem,
    warning: OnProblem,
) -> None:
    delay = settings.get("delay")
    is_number = delay is not None and not isinstance(delay, str)
    if is_number or (isinstance(delay, str) and is_tclink):
        settings["delay"] = _time(delay, "delay", problem, warning)
    if "jitter" not in own:
        return
    if delay is None:
        problem("jitter", "it needs a delay: tc refuses netem's jitter without one")
        return
    spread = _time(own["jitter"], "jitter", problem, warning)
    if spread is not None:
        settings["delay_variation"] = f"{spread} uniform overtaking"


def _time(value: object, name: str, problem: OnProblem, warning: OnProblem) -> str | None:
    """A time as tc reads it, in the testbed's notation; None where it is none."""
    text = repr(float(value)) if _is_number(value) else value
    match = _TC_TIME.fullmatch(text.strip().lower()) if isinstance(text, str) else None
    scale = _TC_TIMES_NS.get(match[2]) if match else None
    if match is None or scale is None:
        problem(name, f"expected a time as tc reads it, such as '5ms' (got {value!r})")
        return None
    time_ns = round(Fraction(match[1]) * scale)
    if not match[2] and time_ns:
        warning(
            name,
            f"a time without a unit is microseconds, as for tc: {value!r} is {match[1]}us; "
            f"write '{match[1]}ms' for milliseconds",
        )
    return f"{time_ns}ns"


def _loss(settings: dict[str, Any], problem: OnProblem) -> None:
    loss = settings.get("loss")
    if loss is None or isinstance(loss, str):
        return
    if not _is_number(loss) or not 0 <= loss <= 100:
        problem("loss", f"expected a number of percent, 0 to 100, or text (got {loss!r})")
        del settings["loss"]
        return
    settings["loss"] = f"{loss:.5f}%"


def _is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return math.isfinite(value)
