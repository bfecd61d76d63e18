"""The picture of a topology: inline SVG, clients at the left, servers at the right.

A node's column is its distance from the nearest client; servers stand in the last one. Colours are
classes of the page's style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from testbed.recording.manifest import Direction, LinkRecord, Manifest, Node
from testbed.report import format as scale

_SHORTEST_LINK: Final = 110
_LETTER: Final = 7.2
"""Width of a letter of a label, generously."""
_ROW: Final = 92
_NODE_WIDTH: Final = 104
_NODE_HEIGHT: Final = 48
_MARGIN: Final = 24
_LABEL_ROW: Final = 16


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
    labels = [_settings(link) for link in manifest.links if rows == 1 or link.bottleneck]
    longest = max((len(text) for lines in labels for text in lines), default=0)
    gap = _NODE_WIDTH + max(_SHORTEST_LINK, round(longest * _LETTER) + _MARGIN)
    top = _MARGIN
    width = 2 * _MARGIN + _NODE_WIDTH + (len(columns) - 1) * gap
    height = top + _MARGIN + _NODE_HEIGHT + (rows - 1) * _ROW
    places = {}
    for index, column in enumerate(columns):
        first = top + _NODE_HEIGHT / 2 + (rows - len(column)) * _ROW / 2
        for row, node in enumerate(column):
            x = _MARGIN + _NODE_WIDTH / 2 + index * gap
            places[node.name] = _Place(x, first + row * _ROW)
    parts = [_link(link, places, labelled=rows == 1 or link.bottleneck) for link in manifest.links]
    parts += [_node(node, places[node.name]) for node in manifest.nodes]
    title = escape(_sentence(manifest))
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
    kind = "link bottleneck" if link.bottleneck else "link"
    middle = _Place((first.x + second.x) / 2, (first.y + second.y) / 2)
    lines = _settings(link)
    hint = escape(f"{link.name}: {', '.join(lines) or 'not shaped'} (wire: {link.wire})")
    parts = [
        f'<g class="{kind}"><title>{hint}</title>',
        f'<line x1="{first.x:g}" y1="{first.y:g}" x2="{second.x:g}" y2="{second.y:g}"/>',
    ]
    for number, text in enumerate(reversed(lines if labelled else [])):
        y = middle.y - 10 - number * _LABEL_ROW
        parts.append(f'<text x="{middle.x:g}" y="{y:g}" class="setting">{escape(text)}</text>')
    return "".join(parts) + "</g>"


def _settings(link: LinkRecord) -> list[str]:
    """What stands at a link, bottom line last; the directions one by one where they differ."""
    forward, reverse = _words(link.forward), _words(link.reverse)
    if forward == reverse:
        return forward
    ways = (("→", forward), ("←", reverse))
    return [f"{arrow} {' · '.join(words) or 'not shaped'}" for arrow, words in ways]


def _words(way: Direction) -> list[str]:
    """Two short lines: capacity and queue, delay and loss."""
    first = []
    if way.capacity_bit_s is not None:
        first.append(scale.rate(way.capacity_bit_s))
    if way.queue_packets is not None:
        first.append(f"queue {scale.count(way.queue_packets)} p")
    elif way.queue_bytes is not None:
        first.append(f"queue {scale.size(way.queue_bytes)}")
    second = []
    if way.delay_ns:
        second.append(scale.duration(way.delay_ns))
    if way.loss_ratio:
        second.append(f"{scale.percent(way.loss_ratio)} loss")
    return [" · ".join(part) for part in (first, second) if part]


def _sentence(manifest: Manifest) -> str:
    links = [
        f"{link.name} ({', '.join(_settings(link)) or 'not shaped'})" for link in manifest.links
    ]
    return f"Topology: {', '.join(node.name for node in manifest.nodes)}; links: {', '.join(links)}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
