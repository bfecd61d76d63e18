"""The tc commands that shape one direction of a link at its sending interface. Pure.

    root 1: htb -- class 1:10 (capacity) -- 10: the queue        with a capacity
    root 1: pfifo                                                without one, or by a trace

Why HTB and not tbf: tbf drops by itself what does not fit its own buffer, HTB leaves the queue to
the qdisc below.

A change while packets wait is `tc class change` and `tc qdisc change`: both keep what is queued and
say all settings, so that none goes back to a default. RED is the exception, see `change_refusals`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from testbed.errors import Problem, ReadBackError, ScenarioError
from testbed.network import queues
from testbed.network.queues import FRAME_BYTES
from testbed.recording.manifest import Direction
from testbed.scenario.queues import Queue
from testbed.units import NS_PER_S

UNSHAPED_QUEUE_PACKETS: Final = 1000
"""Queue of an interface without a capacity; it fills only when the wire itself cannot keep up."""
_BURST_NS: Final = 250_000
"""How long HTB may send above its rate after a pause: covers the lateness of its timer (tens of
us).
"""


def shaped(way: Direction) -> tuple[int, Queue] | None:
    """Capacity and queue at the sender; None where nothing is shaped there.

    A trace shapes on the wire: the queue before it is the relay's.
    """
    if way.capacity_bit_s is None or way.trace is not None:
        return None
    if way.queue is None:
        raise ValueError(f"{way.sender_interface}: a capacity without a queue")
    return way.capacity_bit_s, way.queue


def kinds(way: Direction) -> tuple[str, ...]:
    """The qdiscs that the kernel must have for `way`; pfifo and bfifo are part of each."""
    settings = shaped(way)
    if settings is None:
        return ()
    return ("htb",) if settings[1].is_drop_tail else ("htb", settings[1].discipline)


def burst_bytes(capacity_bit_s: int) -> int:
    """HTB's burst: what the capacity carries in 250 us, at least one frame.

    tc's own default would be 1600 bytes; below 50 Mbit/s they agree in effect.
    """
    return max(FRAME_BYTES, capacity_bit_s * _BURST_NS // (8 * NS_PER_S))


def tc_commands(way: Direction) -> list[str]:
    """Lines for `tc -batch` that shape `way` at its sending interface.

    Raises:
        QuantityError: RED has no averaging weight for these settings.
    """
    device = way.sender_interface
    settings = shaped(way)
    if settings is None:
        return [f"qdisc add dev {device} root handle 1: pfifo limit {UNSHAPED_QUEUE_PACKETS}"]
    capacity_bit_s, queue = settings
    return [
        f"qdisc add dev {device} root handle 1: htb default 10",
        f"class add {_class(device, capacity_bit_s)}",
        f"qdisc add {_leaf(device)} {queues.words(queue, capacity_bit_s)}",
    ]


def tc_change_commands(before: Direction, after: Direction) -> list[str]:
    """Lines for `tc -batch` that make `after` of a live `before`; none where nothing differs.

    Queued packets stay, but for those above a limit that shrinks: codel, fq_codel, pie and fq drop
    them at once (their ``*_change`` in net/sched), cake with the next packet; pfifo and bfifo let
    them leave. Drops by a change are in HTB's counter; fq_codel and fq count theirs as sent.

    Raises:
        ScenarioError: it cannot be made without losing packets (`change_refusals`).
    """
    was, will = shaped(before), shaped(after)
    problems = [Problem(*refusal) for refusal in change_refusals(before, after)]
    if problems:
        raise ScenarioError(problems)
    if was is None or will is None:
        return []
    device = after.sender_interface
    lines = []
    if was[0] != will[0]:
        lines.append(f"class change {_class(device, will[0])}")
    # RED's bandwidth only tells how fast its average falls while nothing is queued: that of the
    # start stays, as a change would empty the queue.
    if will[1].discipline != "red" and queues.words(was[1], was[0]) != queues.words(
        will[1], will[0]
    ):
        lines.append(
            f"qdisc change {_leaf(device)} {queues.words(will[1], will[0], before=was[1])}"
        )
    return lines


def change_refusals(before: Direction, after: Direction) -> list[tuple[str, str]]:
    """What cannot change at the sender while packets are queued: the setting, and why."""
    was, will = shaped(before), shaped(after)
    if was is None or will is None:
        if was == will:
            return []
        return [("capacity", "it can be neither begun nor left while packets are queued")]
    return [("queue", why) for why in queues.change_refusals(was[1], will[1])]


def _class(device: str, capacity_bit_s: int) -> str:
    burst, rate = burst_bytes(capacity_bit_s), f"{capacity_bit_s}bit"
    return (
        f"dev {device} parent 1: classid 1:10 htb rate {rate} ceil {rate} "
        f"burst {burst} cburst {burst} quantum {FRAME_BYTES}"
    )


def _leaf(device: str) -> str:
    return f"dev {device} parent 1:10 handle 10:"


def check_read_back(way: Direction, qdiscs: list[dict[str, Any]], classes: str) -> None:
    """Compares what tc reads back with what was set.

    Args:
        way: the direction as planned.
        qdiscs: ``tc -j -d qdisc show dev DEVICE``.
        classes: ``tc class show dev DEVICE``, text: iproute2 6.1 has no JSON for classes.

    Raises:
        ReadBackError: naming the interface, the setting, what was wanted and what was got.
    """
    settings = shaped(way)
    if settings is None:
        plain = Queue(discipline="pfifo", limit_packets=UNSHAPED_QUEUE_PACKETS)
        _check_queue(way, qdiscs, "1:", plain, 0)
        return
    if not any((item["kind"], item["handle"]) == ("htb", "1:") for item in qdiscs):
        _fail(way, f"expected an htb qdisc 1: (got {_kinds(qdiscs)})", "htb", None)
    check_capacity(way, classes)
    check_queue(way, qdiscs)


def classes_by_device(text: str) -> list[str]:
    """``tc class show`` of several shaped interfaces, one after the other, taken apart.

    tc does not say which interface a class is of, but each shaped one has exactly one class 1:10;
    others are the queue's own, such as fq_codel's flows.
    """
    return [line for line in text.splitlines() if line.startswith("class htb 1:10 ")]


def check_capacity(way: Direction, classes: str) -> None:
    """Compares the HTB class alone; see `check_read_back`."""
    settings = shaped(way)
    if settings is None:
        return
    rate_bit_s = _class_rate_bit_s(classes)
    # tc prints whole thousands only, and counts in bytes per second: it cannot be compared closer
    # than that.
    if rate_bit_s is None or abs(rate_bit_s - settings[0]) > max(8, settings[0] // 1000):
        text = f"capacity in bit/s was set to {settings[0]} and reads back as {rate_bit_s}"
        _fail(way, text, settings[0], rate_bit_s)


def check_queue(way: Direction, qdiscs: list[dict[str, Any]]) -> None:
    """Compares the queue below HTB alone; see `check_read_back`."""
    settings = shaped(way)
    if settings is not None:
        _check_queue(way, qdiscs, "10:", settings[1], settings[0])


def _check_queue(
    way: Direction, qdiscs: list[dict[str, Any]], handle: str, queue: Queue, capacity_bit_s: int
) -> None:
    found = next(
        (q for q in qdiscs if (q["kind"], q["handle"]) == (queue.discipline, handle)), None
    )
    if found is None:
        text = f"expected a {queue.discipline} qdisc {handle} (got {_kinds(qdiscs)})"
        _fail(way, text, queue.discipline, None)
        return
    for text in queues.differences(queue, capacity_bit_s, found.get("options", {})):
        _fail(way, f"{queue.discipline} {text}", queues.words(queue, capacity_bit_s), found)


def _kinds(qdiscs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((item["kind"], item["handle"]) for item in qdiscs)


def _class_rate_bit_s(classes: str) -> int | None:
    match = re.search(r"class htb 1:10 .*\brate (\d+)([KMGT]?)bit", classes)
    if match is None:
        return None
    return int(match[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}[match[2]]


def _fail(way: Direction, text: str, wanted: object, got: object) -> None:
    raise ReadBackError(
        f"{way.sender_interface}: {text}",
        where=way.sender_interface,
        wanted=str(wanted),
        got=got,
    )
