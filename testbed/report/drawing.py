"""The picture of a topology: inline SVG, clients at the left, servers at the right.

A node's column is its distance from the nearest client; servers stand in the last one. Colours are
classes of the page's style.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from testbed.recording.manifest import LinkRecord, Manifest, Node
from testbed.report import settings

_SHORTEST_LINK: Final = 110
_LETTER: Final = 7.2
"""Width of a letter of a label, generously."""
_ROW: Final = 92
_LABELLED_ROW: Final = 148
"""Where several links have labels and lead to other rows: their middles are half a row apart."""
_MOST_LABELLED: Final = 6
"""More labels than that stand on one another: what they have in common stands below instead."""
_NODE_WIDTH: Final = 104
_NODE_HEIGHT: Final = 48
_MARGIN: Final = 24
_LABEL_ROW: Final = 16
_LABEL_LINES: Final = 2
"""So many lines of a label have room beside a node."""
_HALF_GAP: Final = 5
"""From the middle of a link to the line of one direction."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG element and its natural width."""

    svg: str
    width: int


@dataclass(frozen=True, slots=True)
class _Place:
    x: float
    y: float


def draw(manifest: Manifest) -> Picture | None:
    """The picture of what was built; None where nothing was."""
    if not manifest.nodes:
        return None
    columns = _columns(manifest.nodes, manifest.links)
    rows = max(len(column) for column in columns)
    chosen = [link for link in manifest.links if rows == 1 or link.bottleneck]
    caption = ""
    if rows > 1 and len(chosen) > _MOST_LABELLED:
        caption, chosen = _in_common(chosen), []
    labels = [_labels(link) for link in chosen]
    pitch = _LABELLED_ROW if rows > 1 and len(chosen) > 1 else _ROW
    longest = max((len(text) for pair in labels for side in pair for text in side), default=0)
    gap = _NODE_WIDTH + max(_SHORTEST_LINK, round(longest * _LETTER) + _MARGIN)
    most = max((len(side) for pair in labels for side in pair), default=0)
    top = _MARGIN + max(0, most - _LABEL_LINES) * _LABEL_ROW
    width = 2 * _MARGIN + _NODE_WIDTH + (len(columns) - 1) * gap
    height = 2 * top + _NODE_HEIGHT + (rows - 1) * pitch + (_LABEL_ROW if caption else 0)
    places = {}
    for index, column in enumerate(columns):
        first = top + _NODE_HEIGHT / 2 + (rows - len(column)) * pitch / 2
        for row, node in enumerate(column):
            x = _MARGIN + _NODE_WIDTH / 2 + index * gap
            places[node.name] = _Place(x, first + row * pitch)
    parts = [_link(link, places, labelled=link in chosen) for link in manifest.links]
    if caption:
        at = f'x="{width / 2:g}" y="{height - 10:g}"'
        parts.append(f'<text {at} class="setting narrow">{escape(caption)}</text>')
    parts += [_node(node, places[node.name]) for node in manifest.nodes]
    title = escape(f"Topology. {'. '.join(_sentence(link) for link in manifest.links)}")
    svg = (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{title}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
    return Picture(svg, round(width))


def _columns(nodes: Sequence[Node], links: Sequence[LinkRecord]) -> list[list[Node]]:
    """The nodes by their distance from the clients, servers last."""
    neighbours: dict[str, set[str]] = {node.name: set() for node in nodes}
    for link in links:
        first, second = link.forward.sender, link.forward.receiver
        neighbours.setdefault(first, set()).add(second)
        neighbours.setdefault(second, set()).add(first)
    start = [node.name for node in nodes if node.role == "client"] or [nodes[0].name]
    distance = dict.fromkeys(start, 0)
    queue = list(start)
    for name in queue:
        for other in sorted(neighbours[name]):
            if other not in distance:
                distance[other] = distance[name] + 1
                queue.append(other)
    furthest = max(distance.values())
    last = {node.name for node in nodes if node.role == "server"}
    columns: list[list[Node]] = [[] for _ in range(furthest + 1)]
    for node in nodes:
        place = furthest if node.name in last else distance.get(node.name, furthest)
        columns[place].append(node)
    return [column for column in columns if column]


def _node(node: Node, place: _Place) -> str:
    x, y = place.x - _NODE_WIDTH / 2, place.y - _NODE_HEIGHT / 2
    radius = 24 if node.role in {"router", "switch"} else 6
    addresses = [address for one in node.interfaces for address in one.addresses]
    hint = escape(f"{node.name} ({node.role}) {', '.join(addresses)}".strip())
    name = escape(_short(node.name, 13))
    return (
        f'<g class="node {escape(node.role)}"><title>{hint}</title>'
        f'<rect x="{x:g}" y="{y:g}" width="{_NODE_WIDTH}" height="{_NODE_HEIGHT}" rx="{radius}"/>'
        f'<text x="{place.x:g}" y="{place.y - 3:g}" class="name">{name}</text>'
        f'<text x="{place.x:g}" y="{place.y + 14:g}" class="role">{escape(node.role)}</text></g>'
    )


def _link(link: LinkRecord, places: Mapping[str, _Place], *, labelled: bool) -> str:
    first, second = places.get(link.forward.sender), places.get(link.forward.receiver)
    if first is None or second is None:
        return ""
    alike = _is_symmetric(link)
    hint = escape(f"{_sentence(link)} (wire: {link.wire})")
    parts = [f"<g><title>{hint}</title>"]
    if alike:
        parts.append(_stroke(first, second, bottleneck=link.forward.bottleneck))
    else:  # a line for each direction, side by side, with an arrow
        for one, start, end in ((link.forward, first, second), (link.reverse, second, first)):
            parts.append(_stroke(*_aside(start, end), bottleneck=one.bottleneck, arrow=True))
    above, below = _labels(link) if labelled else ([], [])
    middle = _Place((first.x + second.x) / 2, (first.y + second.y) / 2)
    for side, lines, narrow in (
        (-1, above, link.forward.bottleneck),
        (1, below, link.reverse.bottleneck),
    ):
        for number, text in enumerate(lines if side > 0 else reversed(lines)):
            away = (21 if side > 0 else 10 if alike else 16) + number * _LABEL_ROW
            y = middle.y + side * away
            kind = "setting narrow" if narrow else "setting"
            parts.append(f'<text x="{middle.x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>')
    return "".join(parts) + "</g>"


def _stroke(start: _Place, end: _Place, *, bottleneck: bool, arrow: bool = False) -> str:
    kind = "wire narrow" if bottleneck else "wire"
    points = f'x1="{start.x:g}" y1="{start.y:g}" x2="{end.x:g}" y2="{end.y:g}"'
    head = ""
    if arrow:
        length = math.hypot(end.x - start.x, end.y - start.y) or 1.0
        ux, uy = (end.x - start.x) / length, (end.y - start.y) / length
        middle = _Place((start.x + end.x) / 2, (start.y + end.y) / 2)
        corners = ((7, 0), (-5, 5), (-5, -5))
        at = " ".join(
            f"{middle.x + a * ux - b * uy:.1f},{middle.y + a * uy + b * ux:.1f}" for a, b in corners
        )
        head = f'<polygon class="{kind}" points="{at}"/>'
    return f'<line class="{kind}" {points}/>{head}'


def _aside(start: _Place, end: _Place) -> tuple[_Place, _Place]:
    """The same line a little to its left, so that the way back has room beside it."""
    length = math.hypot(end.x - start.x, end.y - start.y) or 1.0
    dx = _HALF_GAP * (end.y - start.y) / length
    dy = -_HALF_GAP * (end.x - start.x) / length
    return _Place(start.x + dx, start.y + dy), _Place(end.x + dx, end.y + dy)


def _is_symmetric(link: LinkRecord) -> bool:
    forward, reverse = link.forward, link.reverse
    return (
        settings.lines(forward) == settings.lines(reverse)
        and forward.bottleneck == reverse.bottleneck
    )


def _labels(link: LinkRecord) -> tuple[list[str], list[str]]:
    """What stands above a link and below it: its settings, or those of either direction."""
    above = settings.lines(link.forward)
    return (above, []) if _is_symmetric(link) else (above, settings.lines(link.reverse))


def _in_common(links: Sequence[LinkRecord]) -> str:
    """The settings of bottlenecks that all have the same; nothing where they differ."""
    ways = [way for link in links for way in (link.forward, link.reverse) if way.bottleneck]
    found = {tuple(settings.lines(way)) for way in ways}
    return f"each bottleneck: {' · '.join(found.pop())}" if len(found) == 1 else ""


def _sentence(link: LinkRecord) -> str:
    """A link in words, direction by direction."""
    ways = (link.forward, link.reverse)
    return "; ".join(f"{one.sender} → {one.receiver}: {settings.sentence(one)}" for one in ways)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
