"""Whether the emulation can be trusted.

Thresholds, each with its reason, and one sentence per check.

Rules:

- The verdict is the worst of its reasons. Checks that passed are reasons too, with their numbers.
- A check that could not be made is `degraded`: nothing speaks against the run, and nothing for it.
- Pure: numbers in, reasons out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from testbed.analysis.summary import NOT_CHECKED, Impairment, Ledger, Quantiles, Reason, Verdict
from testbed.scaled import duration
from testbed.units import NS_PER_MS, NS_PER_S, NS_PER_US, serialisation_ns

Status = Literal["faithful", "degraded", "invalid"]
_RANK: Final[dict[Status, int]] = {"faithful": 0, "degraded": 1, "invalid": 2}

FULL_FRAME_BYTES: Final = 1514
"""MTU 1500 and an Ethernet header: the longest packet with offloads off."""
NEAR: Final = 0.5
"""Share of a bound from which a run is degraded: twice as much would be invalid."""
UNSHAPED_LATENESS_NS: Final = 500 * NS_PER_US
"""Least bound on a relay's lateness in a network without any capacity: a timer's 50 us and a
wake-up on a busy machine with two cores. Half of it is below what the samplers (10 ms) and an HTTP
latency (milliseconds) can tell apart."""
UNSHAPED_LATENESS_OF_DELAY: Final = 0.05
"""The same as a share of the link's delay: 5 % of what was asked for."""
LOSS_CONFIDENCE: Final = 0.999
"""Of each exact binomial interval, of which a direction has up to four at any time (loss, copies,
flips, reordering). Each calls at most one in a thousand faithful runs degraded: with ten lossy
directions one run in a hundred, with all four rules both ways on ten links 8 in a hundred."""
CAPACITY_SLACK_RATIO: Final = 0.05
"""Above the capacity, beside the burst that HTB allows and a packet at either end of the window."""
CAPACITY_INVALID_FACTOR: Final = 1.5
"""Half as much again as the capacity allows is another capacity, not noise."""
QUEUE_SLACK_NS: Final = 2 * NS_PER_MS
"""Added to the drop-tail bound: HTB's burst and a late wake-up of the shaper, or 5 % of the bound
if that is more."""
QUEUE_SLACK_RATIO: Final = 0.05
_HTB_BURST_NS: Final = 250 * NS_PER_US
"""testbed.network.shaping, burst_bytes."""
QUEUE_INVALID_FACTOR: Final = 2.0
"""A delay of twice the drop-tail bound is a second queue, not noise."""


def verdict(reasons: Iterable[Reason]) -> Verdict:
    """The worst of the reasons."""
    listed = list(reasons)
    worst: Status = max((r.status for r in listed), key=_RANK.__getitem__, default="degraded")
    return Verdict(status=worst, reasons=listed)


def not_made(check: str, why: str) -> Reason:
    """A check that could not be made."""
    return Reason(check=check, status="degraded", message=f"{NOT_CHECKED}: {why}")


def completeness(state: str, failure: str, damage: list[str]) -> list[Reason]:
    """Whether the run went to its end and its files are whole."""
    check = "run complete"
    reasons = []
    if state == "complete":
        reasons.append(Reason(check=check, status="faithful", message="the run went to its end"))
    elif state == "interrupted":
        message = "the run was stopped: its numbers cover what came before"
        reasons.append(Reason(check=check, status="degraded", message=message))
    else:
        what = failure.splitlines()[0] if failure else "no reason is known"
        message = (
            f"the run failed: {what}" if state == "failed" else "the run never came to its end"
        )
        reasons.append(Reason(check=check, status="invalid", message=message))
    if damage:
        more = f" (and {len(damage) - 1} more)" if len(damage) > 1 else ""
        reasons.append(
            Reason(
                check="recording whole",
                status="invalid",
                message=f"{damage[0]}{more}",
                value=len(damage),
                bound=0,
                unit="parts",
            )
        )
    return reasons


def relay_overflow(overflowed_packets: int) -> Reason:
    """Packets that the emulator dropped by itself; never emulated loss, so one is too many."""
    return _counted(
        "relay overflow",
        overflowed_packets,
        "the relay dropped {} packets because it could not take or write them",
    )


def relay_lateness(
    label: str, lateness: Quantiles, capacity_bit_s: int | None, delay_ns: int
) -> Reason:
    """Lateness at p99 against the time that one full packet takes at the capacity.

    Later than that, and the order and spacing of packets is the emulator's.

    Args:
        label: the direction of the link.
        lateness: departure minus due time of its packets.
        capacity_bit_s: of the direction; where it has none, the slowest of the network, which is
            what spaces the packets; None in a network without any.
        delay_ns: of the direction.
    """
    bound, what = time_bound(capacity_bit_s, delay_ns)
    message = (
        f"{label}: packets left {duration(lateness.p99)} late at p99 "
        f"(max {duration(lateness.max)}); {what} {duration(bound)}"
    )
    return Reason(
        check="relay lateness",
        status=graded(lateness.p99, bound),
        message=message,
        value=lateness.p99,
        bound=bound,
        unit="ns",
    )


def delay_error(label: str, error: Quantiles, capacity_bit_s: int | None, delay_ns: int) -> Reason:
    """One-way delay from capture to capture beyond what each packet was to take, at p99.

    That is what the relay's log says it planned; on a wire without a log the delay that was set
    when the packet came. It holds what a relay's own lateness does not: the time until the relay
    has taken a packet, and it is all there is for a wire in the kernel. Bounds and arguments are
    those of `relay_lateness`.
    """
    bound, what = time_bound(capacity_bit_s, delay_ns)
    return Reason(
        check="delay error",
        status=graded(error.p99, bound),
        message=f"{label}: packets took {duration(error.p99)} longer than they were to at p99 "
        f"(p50 {duration(error.p50)}, max {duration(error.max)}); {what} {duration(bound)}",
        value=error.p99,
        bound=bound,
        unit="ns",
    )


def time_bound(capacity_bit_s: int | None, delay_ns: int) -> tuple[int, str]:
    """What an error in time is held against, and in words what that is."""
    if capacity_bit_s is not None:
        bound = serialisation_ns(FULL_FRAME_BYTES, capacity_bit_s)
        return bound, f"one packet of {FULL_FRAME_BYTES} bytes takes"
    bound = max(UNSHAPED_LATENESS_NS, round(delay_ns * UNSHAPED_LATENESS_OF_DELAY))
    return bound, "the bound without a capacity is"


def capture_drops(dropped_packets: int | None, captured_packets: int) -> Reason:
    """Packets that captures missed: what they miss looks like loss."""
    if dropped_packets is None:
        return not_made("capture drops", "a capture ended before it wrote its drop counts")
    return _counted(
        "capture drops",
        dropped_packets,
        "the captures missed {} packets" + f" and have {captured_packets}",
    )


def trace_overruns(lost_events: int | None) -> Reason:
    """Events that the kernel's trace rings lost: what they miss looks like nothing happened."""
    check = "trace ring overruns"
    if lost_events is None:
        return not_made(check, "the trace ended before its counts were written")
    return _counted(check, lost_events, "the rings of the tracepoints lost {} events", "events")


def balance(ledger: Ledger) -> Reason:
    """Whether each observed row of the ledger balances."""
    judged = [row for row in ledger.rows if row.balanced is not None]
    if not judged:
        return not_made("ledger", "no row of it was observed on both sides")
    wrong = [row for row in judged if not row.balanced]
    if not wrong:
        message = f"all {len(judged)} rows balance"
        return Reason(
            check="ledger", status="faithful", message=message, value=0, bound=0, unit="rows"
        )
    first = wrong[0]
    made = f", made {first.made}" if first.made else ""
    message = (
        f"{len(wrong)} of {len(judged)} rows do not balance; {first.what}: entered {first.entered}"
        f"{made}, left {first.left}, dropped {first.dropped}, held {first.held}"
        + (f" ({first.note})" if first.note else "")
    )
    return Reason(
        check="ledger", status="invalid", message=message, value=len(wrong), bound=0, unit="rows"
    )


_DONE: Final = {
    "loss": "lost",
    "duplication": "duplicated",
    "corruption": "corrupted",
    "reordering": "held back for others to overtake",
    "outage": "lost in it",
}


def realised(label: str, seen: Impairment) -> Reason | None:
    """What a rule did against what it was to do; None where it could have met no packet.

    A rule that names packets must have met these and no others. One that draws has an interval
    around what it did, in which the ratio that was set must lie. Where there is none, nothing
    may have been met by the relay's log.
    """
    if seen.packets == 0:
        return None
    match seen.impairment:
        case "loss":
            check = "realised loss"
        case "duplication":
            check = "realised duplication"
        case "corruption":
            check = "realised corruption"
        case "reordering":
            check = "realised reordering"
        case _:
            check = "realised outage"
    if seen.holds is None:
        return not_made(check, f"{label}: {seen.rule}: {seen.note or 'nothing to hold it against'}")
    share = seen.count / seen.packets
    done = _DONE[seen.impairment]
    message = f"{label}: {seen.count} of {seen.packets} packets were {done} ({share:.3%})"
    status: Status = "faithful"
    if seen.low is not None and seen.high is not None:
        status = "faithful" if seen.holds else "degraded"
        message += (
            f"; that fits ratios from {seen.low:.3%} to {seen.high:.3%}, and "
            f"{seen.configured_ratio:.3%} was set"
        )
    else:
        status = "faithful" if seen.holds else "invalid"
        same = "these packets" if seen.holds else f"{seen.expected}, and not the same ones"
        message += f"; {seen.rule} names {same}" if not seen.unasked else "; no rule asks for that"
    return Reason(
        check=check,
        status=status,
        message=message,
        value=share,
        bound=seen.configured_ratio,
        unit="ratio",
    )


def worst(reasons: Iterable[Reason]) -> list[Reason]:
    """Of several reasons of one check for one direction the one that says most against it."""

    def against(reason: Reason) -> tuple[int, float]:
        near = (reason.value or 0) / reason.bound if reason.bound else 0.0
        return _RANK[reason.status], near

    listed = list(reasons)
    return [max(listed, key=against)] if listed else []


def capacity(label: str, peak_bit_s: float, capacity_bit_s: int, window_ns: int) -> Reason:
    """The busiest window of what left a shaped interface against what its capacity lets through."""
    burst_bytes = max(FULL_FRAME_BYTES, capacity_bit_s * _HTB_BURST_NS // (8 * NS_PER_S))
    extra_bit_s = (burst_bytes + 2 * FULL_FRAME_BYTES) * 8 * NS_PER_S / window_ns
    bound = (capacity_bit_s + extra_bit_s) * (1 + CAPACITY_SLACK_RATIO)
    status: Status = "faithful"
    if peak_bit_s > bound:
        status = "invalid" if peak_bit_s > CAPACITY_INVALID_FACTOR * bound else "degraded"
    return Reason(
        check="capacity",
        status=status,
        message=f"{label}: {peak_bit_s / 1e6:.4g} Mbit/s left in the busiest "
        f"{window_ns / NS_PER_MS:.0f} ms; {capacity_bit_s / 1e6:.4g} Mbit/s were set, which lets "
        f"{bound / 1e6:.4g} Mbit/s through",
        value=peak_bit_s,
        bound=bound,
        unit="bit/s",
    )


def drop_tail(label: str, transit: Quantiles, queue_packets: int, capacity_bit_s: int) -> Reason:
    """Time that packets spent in a node before a shaped link against what its queue can hold.

    (Q + 1) full packets are the most there can be before a packet: Q in a drop-tail queue and one
    that is being sent.
    """
    bound = (queue_packets + 1) * serialisation_ns(FULL_FRAME_BYTES, capacity_bit_s)
    limit = bound + max(QUEUE_SLACK_NS, round(bound * QUEUE_SLACK_RATIO))
    status: Status = "faithful"
    if transit.p99 > limit:
        status = "invalid" if transit.p99 > QUEUE_INVALID_FACTOR * limit else "degraded"
    end = "" if status == "faithful" else ": a hidden queue or super-packets"
    message = (
        f"{label}: packets waited {duration(transit.p99)} at p99 "
        f"(max {duration(transit.max)}); a queue of {queue_packets} packets "
        f"can hold them {duration(bound)}{end}"
    )
    return Reason(
        check="drop-tail bound",
        status=status,
        message=message,
        value=transit.p99,
        bound=limit,
        unit="ns",
    )


def packet_sizes(longest_bytes: int, where: str) -> Reason:
    """The longest packet of all captures.

    One beyond the MTU means that offloads are on, and one "packet" is many.
    """
    good = longest_bytes <= FULL_FRAME_BYTES
    return Reason(
        check="packet sizes",
        status="faithful" if good else "invalid",
        message=f"the longest packet has {longest_bytes} bytes; {FULL_FRAME_BYTES} is the most "
        + ("with offloads off" if good else f"with offloads off: super-packets at {where}"),
        value=longest_bytes,
        bound=FULL_FRAME_BYTES,
        unit="bytes",
    )


def _counted(check: str, count: int, message: str, unit: str = "packets") -> Reason:
    return Reason(
        check=check,
        status="invalid" if count else "faithful",
        message=message.format(count or "no"),
        value=count,
        bound=0,
        unit=unit,
    )


def graded(value: float, bound: float) -> Status:
    """Invalid above the bound, degraded near it."""
    if value > bound:
        return "invalid"
    return "degraded" if value > NEAR * bound else "faithful"
