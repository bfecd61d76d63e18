"""The queue of a shaped direction with every setting, as tc is told it and as it reads back. Pure.

Rules:

- tc is told every setting of the scenario's vocabulary, whether the scenario names it or not, and
  `ecn` or `noecn` wherever tc has the two: a default of tc or of a kernel decides nothing.
- What a scenario leaves out comes from `complete`, which names its source for each.
- The bandwidth is HTB's alone. A discipline with a shaper of its own (cake) has it switched off.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from testbed.errors import QuantityError
from testbed.scenario.queues import LIMIT_UNITS, SETTINGS, Queue
from testbed.units import NS_PER_MS, NS_PER_US

FRAME_BYTES: Final = 1514
"""Ethernet frame of MTU 1500, as qdiscs count it: header, without preamble and frame check
sequence.
"""
_MIB: Final = 2**20
_DEFAULTS: Final[dict[str, dict[str, float]]] = {
    # RFC 8289, 4.3 and 4.4: 5 ms and 100 ms; sch_codel.c: DEFAULT_CODEL_LIMIT.
    "codel": {"limit": 1000, "target": 5 * NS_PER_MS, "interval": 100 * NS_PER_MS},
    # RFC 8290, 5.2; sch_fq_codel.c, fq_codel_init: memory_limit and drop_batch.
    "fq_codel": {
        "limit": 10240,
        "flows": 1024,
        "quantum": FRAME_BYTES,
        "target": 5 * NS_PER_MS,
        "interval": 100 * NS_PER_MS,
        "memory_limit": 32 * _MIB,
        "drop_batch": 64,
    },
    # tc-cake(8), rtt: "internet".
    "cake": {"rtt": 100 * NS_PER_MS},
    # RFC 8033, 4.1 and 4.2: 15 ms each, alpha 0.125 and beta 1.25, which tc counts in sixteenths;
    # pie_params_init, include/net/pie.h: limit.
    "pie": {
        "limit": 1000,
        "target": 15 * NS_PER_MS,
        "tupdate": 15 * NS_PER_MS,
        "alpha": 2,
        "beta": 20,
    },
    # sch_fq.c, fq_init.
    "fq": {"limit": 10000, "flow_limit": 100, "quantum": 2 * FRAME_BYTES},
    # tc-red(8): "1000 is a good value", "suggested values are 0.01 or 0.02".
    "red": {"avpkt": 1000, "probability": 0.02},
}
_ORDER: Final[dict[str, tuple[str, ...]]] = {
    "fq_codel": (
        "limit", "flows", "quantum", "target", "interval", "memory_limit", "drop_batch",
        "ce_threshold",
    ),
    "red": ("limit", "min", "max", "avpkt", "burst", "probability", "bandwidth"),
    "pie": ("limit", "target", "tupdate", "alpha", "beta"),
}  # fmt: skip
"""The order in which tc is told, where it is not `limit` and then that of SETTINGS."""
_FLAGS: Final = {"pie": ("nobytemode",)}
_ECN_OR_NOECN: Final = ("codel", "fq_codel", "pie")
_CAKE: Final = "unlimited besteffort triple-isolate nonat nowash no-ack-filter split-gso egress raw"
"""cake as a queue and nothing else (tc-cake(8)).

unlimited: HTB above it shapes; two shapers in a row would fight. besteffort: one class for all, as
a scenario has no DSCP and shares of an unlimited rate mean nothing. triple-isolate, split-gso and
the rest: cake's own defaults, said aloud. raw: HTB counts the bytes.
"""
CE_THRESHOLD_OFF: Final = {"codel": 2_199_023_255, "fq_codel": 2_199_023_255, "fq": 2**32 - 1}
"""Microseconds that switch ce_threshold off in a queue that has one.

tc has no word for it. codel keeps ns >> 10, and INT_MAX is off (CODEL_DISABLED_THRESHOLD,
include/net/codel.h); fq keeps ns, and the greatest that tc can say is more than an hour.
"""
_US_TIMES: Final = ("target", "interval", "ce_threshold", "rtt", "tupdate")
_JIFFY_NS: Final = 10 * NS_PER_MS
"""The longest jiffy of any kernel: HZ=100."""
_CODEL_LOSS_NS: Final = 3 * NS_PER_US
"""tc cuts to microseconds, codel to 1024 ns, and what reads back to microseconds again."""


def complete(queue: Queue, capacity_bit_s: int) -> Queue:
    """The queue with every setting that it will have, before an interface of that capacity.

    Raises:
        QuantityError: RED has no averaging weight for these settings.
    """
    named = queue.discipline
    if queue.is_drop_tail:
        return queue
    values = {**_DEFAULTS[named], **queue.settings}
    limit: float | None = (
        queue.limit_bytes if LIMIT_UNITS[named] == "bytes" else queue.limit_packets
    )
    default = values.pop("limit", None)
    if limit is None:
        limit = default
    if named == "cake" and limit is None:
        limit = _cake_bytes(capacity_bit_s, values["rtt"])
    if named == "red":
        values |= _red(values, limit or 0, capacity_bit_s)
    counts_bytes = LIMIT_UNITS[named] == "bytes"
    return msgspec.structs.replace(
        queue,
        limit_bytes=_whole(limit) if counts_bytes else None,
        limit_packets=None if counts_bytes else _whole(limit),
        settings=values,
    )


def _cake_bytes(capacity_bit_s: int, rtt_ns: float) -> int:
    """What cake gives itself for a rate: four times rate times rtt, at least 4 MiB.

    cake_reconfigure, net/sched/sch_cake.c. Unlimited, as it is here, it would take 4 GiB.
    """
    return min(2**32 - 1, max(4 * _MIB, int(4 * capacity_bit_s / 8 * rtt_ns / 1e9)))


def _red(values: dict[str, float], limit: float, capacity_bit_s: int) -> dict[str, float]:
    """RED's settings that are not given, by the rules of tc-red(8) and tc/q_red.c.

    They are those of S. Floyd, "RED: Discussions of Setting Parameters" (1997): max = 3 min,
    probability 0.02 to 0.1, a weight that lets a burst of (2 min + max) / 3 packets pass.
    """
    least, most = int(values.get("min", 0)), int(values.get("max", 0))
    most = most or (least * 3 if least else int(limit) // 4)
    least = least or most // 3
    avpkt = int(values["avpkt"])
    # tc's rule, rounded up to what its own search for the weight needs (tc_red_eval_ewma).
    burst = int(values.get("burst", max(-(-least // avpkt), (2 * least + most) // (3 * avpkt), 1)))
    weight = red_weight(least, burst, avpkt)
    # red_check_params, include/net/red.h: both thresholds have room in 32 bits when scaled.
    if weight is None or max(least, most).bit_length() + weight >= 32:
        raise QuantityError(
            f"red has no averaging weight for min {least} B, burst {burst} and avpkt {avpkt} B: "
            "min must be some packets of size avpkt, and burst not many more than that",
            got=burst,
        )
    return {"min": least, "max": most, "burst": burst, "bandwidth": capacity_bit_s}


def red_weight(least: int, burst: int, avpkt: int) -> int | None:
    """RED's averaging weight, as the power of two that tc finds (tc/tc_red.c, tc_red_eval_ewma).

    From Floyd and Jacobson (1993), equation 3: a burst may pass while the average is below min.
    """
    above = burst + 1 - least / avpkt
    if above < 1:
        return None
    weight = 0.5
    for power in range(1, 32):
        if above <= (1 - (1 - weight) ** burst) / weight:
            return power
        weight /= 2
    return None


def words(queue: Queue, capacity_bit_s: int, *, before: Queue | None = None) -> str:
    """The words of `tc qdisc` that say the whole queue.

    Args:
        queue: as the scenario has it.
        capacity_bit_s: of the HTB class above it.
        before: what it was until now, for `tc qdisc change`.
    """
    full = complete(queue, capacity_bit_s)
    named = queue.discipline
    if named == "cake":
        rtt = time_word(full.settings["rtt"])
        return f"cake {_CAKE} rtt {rtt} memlimit {full.limit_bytes}"
    values: dict[str, float | None] = {
        "limit": full.limit_packets if full.limit_bytes is None else full.limit_bytes,
        **full.settings,
    }
    if before is not None:
        values.pop("flows", None)  # fq_codel_change, sch_fq_codel.c: "flows cannot be changed"
    order = _ORDER.get(named, ("limit", *SETTINGS[named]))
    said = [f"{name} {_word(name, values[name])}" for name in order if values.get(name) is not None]
    if before is not None and "ce_threshold" in before.settings.keys() - queue.settings.keys():
        said.append(f"ce_threshold {CE_THRESHOLD_OFF[named]}us")
    if named in _ECN_OR_NOECN:
        said.append("ecn" if queue.ecn else "noecn")
    elif queue.ecn:
        said.append("ecn")
    return " ".join([named, *said, *_FLAGS.get(named, ())])


def change_refusals(old: Queue, new: Queue) -> list[str]:
    """Why a queue cannot change so while packets wait in it; empty where it can."""
    if old.discipline != new.discipline:
        return [f"the discipline cannot change ({old.discipline}, {new.discipline})"]
    if new.discipline == "red" and old != new:
        return ["red empties its queue whenever a setting changes (__red_change, sch_red.c)"]
    if old.settings.get("flows") != new.settings.get("flows"):
        return ["fq_codel cannot change its number of flows (fq_codel_change, sch_fq_codel.c)"]
    return []


def _word(name: str, value: float | None) -> str:
    if name in _US_TIMES:
        return time_word(value or 0)
    if name == "probability":
        return f"{value:.9f}".rstrip("0")
    if name == "bandwidth":  # 32 bits of bytes per second in tc/q_red.c
        return f"{min(_whole(value), 8 * (2**32 - 1))}bit"
    return str(_whole(value))


def _whole(value: float | None) -> int:
    return int(value or 0)


def time_word(time_ns: float) -> str:
    """A time as tc reads it: it knows s, ms and us, and no ns (iproute2 6.1)."""
    whole = int(time_ns)
    if whole % NS_PER_MS == 0:
        return f"{whole // NS_PER_MS}ms"
    return f"{whole / NS_PER_US:.3f}".rstrip("0").rstrip(".") + "us"


def differences(queue: Queue, capacity_bit_s: int, options: dict[str, Any]) -> list[str]:
    """Settings that read back as others, in words; empty when the queue is what was asked for.

    Args:
        queue: as the scenario has it.
        capacity_bit_s: of the HTB class above it.
        options: of this qdisc in ``tc -j -d qdisc show``; times there are whole microseconds.
    """
    full = complete(queue, capacity_bit_s)
    wanted = {**full.settings, **_shown(full)}
    if full.discipline == "red":
        weight = red_weight(*(_whole(wanted[name]) for name in ("min", "burst", "avpkt")))
        wanted = {**wanted, "ewma": weight or 0}
        for name in ("avpkt", "burst", "bandwidth"):  # they are in the weight, or cannot be read
            del wanted[name]
    found = []
    for name, value in wanted.items():
        got = options.get(name)
        if isinstance(got, str):
            got = got.rstrip("pb")
            got = int(got) if got.isdecimal() else got
        if not _agrees(name, value, got):
            found.append(f"{name} was set to {_said(name, value)} and reads back as {got}")
    if full.discipline in ("codel", "fq_codel", "fq") and "ce_threshold" not in wanted:
        got = options.get("ce_threshold")
        if got is not None and got < CE_THRESHOLD_OFF[full.discipline] - 2:
            found.append(f"ce_threshold was not set and reads back as {got}")
    return found


def _shown(full: Queue) -> dict[str, Any]:
    """What else must read back: the limit, and the switches of each discipline."""
    if full.discipline == "cake":
        return {
            "memlimit": full.limit_bytes,
            "bandwidth": "unlimited",
            "diffserv": "besteffort",
            "flowmode": "triple-isolate",
            "nat": False,
            "wash": False,
            "ingress": False,
            "ack-filter": "disabled",
            "split_gso": True,
            "raw": True,
            "overhead": 0,
        }
    limit = full.limit_packets if full.limit_bytes is None else full.limit_bytes
    switches: dict[str, Any] = {"limit": limit}
    if full.discipline in (*_ECN_OR_NOECN, "red"):
        switches["ecn"] = full.ecn
    if full.discipline == "red":
        switches |= {"harddrop": False, "adaptive": False, "nodrop": False}
    if full.discipline == "pie":
        switches |= {"bytemode": False, "dq_rate_estimator": False}
    return switches


def _agrees(name: str, wanted: Any, got: Any) -> bool:
    """Whether a setting reads back as it was set, within what tc and the kernel keep of it."""
    if isinstance(wanted, bool):
        return bool(got) == wanted  # tc leaves out what is off
    if isinstance(wanted, str) or not isinstance(got, int | float):
        return bool(wanted == got)
    if name == "tupdate":  # in jiffies, rounded up (usecs_to_jiffies, sch_pie.c)
        return bool(wanted - NS_PER_US <= got * NS_PER_US < wanted + _JIFFY_NS)
    if name in _US_TIMES:
        return bool(wanted - _CODEL_LOSS_NS <= got * NS_PER_US <= wanted)
    if name == "probability":  # 32 bits, printed with six digits
        return bool(abs(got - wanted) <= 1e-5 * wanted + 2**-31)
    return bool(wanted == got)


def _said(name: str, value: Any) -> str:
    return time_word(value) if name in _US_TIMES else f"{value}"
