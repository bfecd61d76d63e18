"""What the links were set to do, in words: as they were built, and as they were changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.recording.manifest import Direction, LinkRecord, Manifest
from testbed.report import format as scale
from testbed.scenario import texts
from testbed.scenario.impairments import Bernoulli

BETWEEN = " · "


def lines(way: Direction) -> list[str]:
    """Up to three short lines: capacity and queue; delay and loss; what else befalls packets."""
    groups = (_rate(way), _delay_and_loss(way), _others(way))
    return [BETWEEN.join(group) for group in groups if group]


def sentence(way: Direction) -> str:
    """The same in one line."""
    return BETWEEN.join(lines(way)) or "not shaped"


def described(manifest: Manifest) -> list[tuple[str, str]]:
    """Each direction that does anything with its settings; both in one where they are alike."""
    return [pair for link in manifest.links for pair in _described(link)]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one or more directions."""

    number: int
    """By time, from 1; its mark in the charts has the same."""
    when: str
    where: str
    text: str


def changes(manifest: Manifest) -> list[Change]:
    """What was changed while the run went on; directions that were changed alike in one."""
    links = {link.name: link for link in manifest.links}
    found: dict[tuple[int, str], dict[str, list[str]]] = {}
    for change in manifest.changes:
        link = links.get(change.link)
        where = found.setdefault((change.at_ns, change.text), {})
        if link is None:
            where[change.link] = [f"{change.link} {change.direction}"]
            continue
        way = link.forward if change.direction == "forward" else link.reverse
        where.setdefault(change.link, []).append(f"{way.sender} → {way.receiver}")
    start_ns = manifest.load_started_ns
    return [
        Change(number, _when(at_ns, start_ns), ", ".join(map(_both, where.values())), text)
        for number, ((at_ns, text), where) in enumerate(found.items(), 1)
    ]


def _both(names: Sequence[str]) -> str:
    return names[0].replace("→", "↔") if len(names) > 1 else names[0]


def _when(at_ns: int, start_ns: int | None) -> str:
    if start_ns is None:
        return scale.NOTHING
    if at_ns < start_ns:
        return "before the load"
    return scale.duration(at_ns - start_ns)


def _described(link: LinkRecord) -> Iterable[tuple[str, str]]:
    forward, reverse = lines(link.forward), lines(link.reverse)
    first, second = link.forward.sender, link.forward.receiver
    if forward == reverse:
        if forward:
            yield f"{first} ↔ {second}", sentence(link.forward)
        return
    if forward:
        yield f"{first} → {second}", sentence(link.forward)
    if reverse:
        yield f"{second} → {first}", sentence(link.reverse)


def _rate(way: Direction) -> Sequence[str]:
    parts = []
    if way.trace is not None:
        parts.append(f"{texts.trace_text(way.trace)}, mean {scale.rate(way.trace.mean_bit_s)}")
    elif way.capacity_bit_s is not None:
        parts.append(scale.rate(way.capacity_bit_s))
    if way.queue is not None and not way.queue.is_drop_tail:
        parts.append(f"queue {texts.queue_text(way.queue)}")
    elif way.queue_packets is not None:
        parts.append(f"queue {scale.count(way.queue_packets)} p")
    elif way.queue_bytes is not None:
        parts.append(f"queue {scale.size(way.queue_bytes)}")
    return parts


def _delay_and_loss(way: Direction) -> Sequence[str]:
    parts = []
    if way.delay_ns:
        parts.append(scale.duration(way.delay_ns))
    if way.delay_variation is not None and way.delay_variation.spread_ns:
        varies = way.delay_variation
        shape = texts.variation_text(varies).partition(" ")[2]
        parts = [" ".join([*parts, f"± {scale.duration(varies.spread_ns)} {shape}"])]
    if way.loss is not None and not isinstance(way.loss, Bernoulli):
        parts.append(f"loss {texts.loss_text(way.loss)}")
    elif way.loss_ratio:
        parts.append(f"{scale.percent(way.loss_ratio)} loss")
    return parts


def _others(way: Direction) -> Sequence[str]:
    parts = []
    if way.duplicate is not None:
        parts.append(f"duplicate {texts.pick_text(way.duplicate)}")
    if way.corrupt is not None:
        parts.append(f"corrupt {texts.pick_text(way.corrupt)}")
    if way.reorder is not None:
        parts.append(f"reorder {texts.reorder_text(way.reorder)}")
    if way.outages:
        parts.append(f"outage {texts.outages_text(way.outages)}")
    return parts
