"""Mininet's `TCLink` parameters as settings of a link. Pure.

``addLink(a, b, cls=TCLink, bw=10, delay="5ms", jitter="1ms", loss=1, max_queue_size=100)`` means
here what `TCIntf.config` of Mininet 2.3 (mininet/link.py) asks tc for, with one difference that is
the point of this testbed: delay and loss happen in the middle of the link and not in the sender's
own queue (docs/explanation/links.md). What cannot mean the same is refused.

    bw               Mbit/s; above 1000 Mininet leaves the link unshaped: refused
    speedup          takes the place of bw where the sender's name begins with s
    delay            as for tc: a number without a unit is microseconds
    jitter           netem's: uniform, packets may overtake one another; needs a delay
    loss             percent
    max_queue_size   packets, of the queue below the shaper (Mininet's default: 1000)
    enable_red, enable_ecn   Mininet's RED: 30 000 to 35 000 bytes, probability 1
    use_htb          what is used anyway
    use_hfsc, use_tbf, latency_ms   refused: shaping is by HTB
    txo, rxo         offloads are off anyway
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

KEYS: Final = (
    "bw", "jitter", "max_queue_size", "use_htb", "use_hfsc", "use_tbf", "latency_ms", "speedup",
    "enable_ecn", "enable_red", "txo", "rxo",
)  # fmt: skip
"""The parameters that only Mininet has; `delay` and `loss` are the testbed's as well."""
MAX_BW_MBIT_S: Final = 1000
"""TCIntf.bwParamMax: beyond it Mininet says so and does nothing."""
DEFAULT_QUEUE_PACKETS: Final = 1000
"""netem's limit and the txqueuelen of an interface, whichever is the queue below Mininet's HTB."""
_RED: Final = "red 1000000B min 30000B max 35000B avpkt 1500B burst 20 probability 100%"
_TC_TIMES: Final = {
    "": "us", "us": "us", "usec": "us", "usecs": "us", "ms": "ms", "msec": "ms", "msecs": "ms",
    "s": "s", "sec": "s", "secs": "s", "ns": "ns", "nsec": "ns", "nsecs": "ns",
}  # fmt: skip
"""Units of time as tc reads them (tc-util, get_time)."""
_REFUSED: Final = {
    "use_hfsc": "shaping is by HTB; leave it out and give bw",
    "use_tbf": "shaping is by HTB; leave it out and give bw and max_queue_size",
    "latency_ms": "it belongs to tbf; give max_queue_size",
}

OnProblem = Callable[[str, str], None]


def translate(info: Mapping[str, Any], sender: str, problem: OnProblem) -> dict[str, Any]:
    """`info` with Mininet's parameters replaced by the testbed's settings.

    Args:
        info: parameters of a link, or of one of its interfaces.
        sender: the node that sends over it.
        problem: is told a parameter and what is wrong with it.
    """
    settings = {key: value for key, value in info.items() if key not in KEYS}
    own = {key: info[key] for key in KEYS if info.get(key) is not None}
    for key, why in _REFUSED.items():
        if own.get(key):
            problem(key, f"this TCLink parameter cannot be honoured: {why}")
    _capacity(own, settings, sender, problem)
    _delay(own, settings, problem)
    if isinstance(settings.get("loss"), int | float):
        loss = settings["loss"]
        if not 0 <= loss <= 100:  # also NaN
            problem("loss", f"must lie between 0 and 100 percent (got {loss})")
            del settings["loss"]
        else:
            settings["loss"] = f"{loss!r}%"
    return settings


def _capacity(
    own: Mapping[str, Any], settings: dict[str, Any], sender: str, problem: OnProblem
) -> None:
    bw = own.get("bw")
    if bw is not None and own.get("speedup") and sender[:1] == "s":
        bw = own["speedup"]
    queue_packets = own.get("max_queue_size")
    if bw is None:
        for key in ("max_queue_size", "enable_ecn", "enable_red", "speedup"):
            if own.get(key):
                problem(key, "it needs a bw: nothing waits without one")
        return
    if not isinstance(bw, int | float) or isinstance(bw, bool) or not 0 < bw < math.inf:
        problem("bw", f"expected a number of Mbit/s greater than 0 (got {bw!r})")
        return
    if bw > MAX_BW_MBIT_S:
        problem(
            "bw",
            f"Mininet ignores a bw above {MAX_BW_MBIT_S} (got {bw}): "
            f'write capacity="{bw:g}mbit" to have it',
        )
        return
    settings["capacity"] = f"{round(bw * 1e6)}bit"
    if queue_packets is not None and (not isinstance(queue_packets, int) or queue_packets < 1):
        problem("max_queue_size", f"expected packets, at least 1 (got {queue_packets!r})")
    elif own.get("enable_ecn") or own.get("enable_red"):
        if queue_packets is not None:
            problem("max_queue_size", "below RED it limits netem's delay line, not a queue")
        settings["queue"] = f"{_RED} ecn" if own.get("enable_ecn") else _RED
    else:
        settings["queue"] = f"{queue_packets or DEFAULT_QUEUE_PACKETS}p"


def _delay(own: Mapping[str, Any], settings: dict[str, Any], problem: OnProblem) -> None:
    delay = settings.get("delay")
    if isinstance(delay, int | float) or (isinstance(delay, str) and own):
        settings["delay"] = _time(delay, "delay", problem)
        if settings["delay"] is None:
            del settings["delay"]
    if "jitter" not in own:
        return
    if delay is None:
        problem("jitter", "it needs a delay")
        return
    spread = _time(own["jitter"], "jitter", problem)
    if spread is not None:
        settings["delay_variation"] = f"{spread} uniform overtaking"


def _time(value: object, name: str, problem: OnProblem) -> str | None:
    """A time as tc reads it, in the testbed's notation."""
    match = re.fullmatch(r"([0-9.]+(?:e-?\d+)?)\s*([a-z]*)", str(value).strip().lower())
    unit = _TC_TIMES.get(match[2]) if match else None
    if match is None or unit is None:
        problem(name, f"expected a time as tc reads it, such as '5ms' (got {value!r})")
        return None
    return f"{match[1]}{unit}"
