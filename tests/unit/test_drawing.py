"""The picture of a topology: from clients to servers, the bottleneck marked in its direction."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import msgspec

from testbed.report.drawing import Picture, draw
from tests.builders.summaries import link, manifest, node

SVG = "{http://www.w3.org/2000/svg}"


def picture(of: object = None) -> Picture:
    made = draw(of or manifest())  # type: ignore[arg-type]
    assert made is not None
    return made


def places(of: Picture) -> dict[str, tuple[float, float]]:
    """The middle of each node by its name."""
    names = [t for t in ET.fromstring(of.svg).iter(f"{SVG}text") if t.get("class") == "name"]
    return {str(t.text): (float(t.get("x", 0)), float(t.get("y", 0))) for t in names}


def classes(of: Picture, tag: str) -> list[str | None]:
    return [one.get("class") for one in ET.fromstring(of.svg).iter(f"{SVG}{tag}")]


def dumbbell(pairs: int) -> object:
    clients = [node(f"client{n}", "client", 1) for n in range(1, pairs + 1)]
    servers = [node(f"server{n}", "server", 1) for n in range(1, pairs + 1)]
    return manifest(
        nodes=[*servers, node("r1", "router", 2), node("r2", "router", 2), *clients],
        links=[
            *(link(one.name, "r1", bottleneck=False) for one in clients),
            link("r1", "r2", bottleneck=True),
            *(link("r2", one.name, bottleneck=False) for one in servers),
        ],
    )


def test_nothing_was_built() -> None:
    assert draw(manifest(nodes=[], links=[])) is None


def test_from_client_to_server_on_one_line() -> None:
    at = places(picture())
    assert at["client"][0] < at["r1"][0] < at["server"][0]
    assert len({y for _, y in at.values()}) == 1


def test_a_dumbbell_has_four_columns_and_a_row_for_each_pair() -> None:
    at = places(picture(dumbbell(3)))
    columns = sorted({x for x, _ in at.values()})
    assert [columns.index(at[name][0]) for name in ("client1", "r1", "r2", "server3")] == [
        0,
        1,
        2,
        3,
    ]
    assert len({at[f"client{n}"] for n in (1, 2, 3)}) == 3
    assert at["r1"][1] == at["client2"][1]


def test_no_two_nodes_stand_on_one_another() -> None:
    at = places(picture(dumbbell(8)))
    assert len(set(at.values())) == len(at) == 18


def test_the_settings_of_the_bottleneck_stand_at_it() -> None:
    found = picture()
    texts = [t.text for t in ET.fromstring(found.svg).iter(f"{SVG}text")]
    assert "10 Mbit/s · queue 50 p" in texts
    assert "20 ms · 2 % loss" in texts
    assert classes(found, "line").count("wire narrow") == 1


def test_a_label_has_room_between_its_nodes() -> None:
    at = places(picture())
    longest = len("10 Mbit/s · queue 50 p")
    assert at["server"][0] - at["r1"][0] - 104 > longest * 6.5  # pixels of a bold letter


def test_directions_that_differ_have_a_line_each() -> None:
    made = manifest()
    reverse = msgspec.structs.replace(
        made.links[1].reverse, bottleneck=False, capacity_bit_s=None, queue_packets=None
    )
    one_way = msgspec.structs.replace(made.links[1], reverse=reverse)
    found = picture(manifest(links=[made.links[0], one_way]))
    assert sorted(map(str, classes(found, "line"))) == ["wire", "wire", "wire narrow"]
    assert classes(found, "polygon").count("wire narrow") == 1
    assert "server → r1: 20 ms · 2 % loss" in found.svg


def test_a_node_that_no_link_reaches_is_drawn() -> None:
    made = manifest(nodes=[*manifest().nodes, node("alone", "host", 0)])
    assert "alone" in places(picture(made))


def test_a_topology_without_clients_begins_at_its_first_node() -> None:
    made = manifest(
        nodes=[node("a", "host", 1), node("b", "host", 1)],
        links=[link("a", "b", bottleneck=False)],
    )
    at = places(picture(made))
    assert at["a"][0] < at["b"][0]


def test_long_names_are_cut_in_the_picture_and_whole_in_its_words() -> None:
    name = "a-very-long-name-of-a-host"
    made = manifest(nodes=[node(name, "client", 1)], links=[])
    found = picture(made)
    assert list(places(found)) == ["a-very-long-…"]
    assert name in found.svg


def test_all_of_it_lies_inside() -> None:
    found = picture(dumbbell(5))
    root = ET.fromstring(found.svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for box in root.iter(f"{SVG}rect"):
        x, y = float(box.get("x", -1)), float(box.get("y", -1))
        assert 0 <= x <= width - float(box.get("width", 0))
        assert 0 <= y <= height - float(box.get("height", 0))
    assert re.match(r'<svg viewBox="0 0 \d', found.svg)


def mesh(names: int, delays_ms: list[int]) -> object:
    """Clients, each joined to a router by a bottleneck, and a server."""
    clients = [node(f"client{n}", "client", 1) for n in range(1, names + 1)]
    links = [link(one.name, "r1", bottleneck=True) for one in clients]
    for index, delay_ms in enumerate(delays_ms):
        ways = {
            way: msgspec.structs.replace(getattr(links[index], way), delay_ns=delay_ms * 1_000_000)
            for way in ("forward", "reverse")
        }
        links[index] = msgspec.structs.replace(links[index], **ways)
    return manifest(
        nodes=[*clients, node("r1", "router", 1), node("server", "server", 1)],
        links=[*links, link("r1", "server", bottleneck=False)],
    )


def labels(of: Picture) -> list[str]:
    texts = ET.fromstring(of.svg).iter(f"{SVG}text")
    return [str(t.text) for t in texts if str(t.get("class")).startswith("setting")]


def test_links_side_by_side_have_room_for_their_labels() -> None:
    at = places(picture(mesh(2, [])))
    # The middles of two links to one router are half as far apart as their other ends; two lines
    # of a label need 2 * 16 pixels, and 16 to either line.
    assert (at["client2"][1] - at["client1"][1]) / 2 >= 4 * 16
    assert len(labels(picture(mesh(2, [])))) == 2 * 2


def test_what_many_bottlenecks_have_in_common_stands_below_once() -> None:
    (text,) = labels(picture(mesh(7, [])))
    assert text == "each bottleneck: 10 Mbit/s · queue 50 p · 20 ms · 2 % loss"
    assert labels(picture(mesh(7, [5]))) == []
    assert classes(picture(mesh(7, [])), "line").count("wire narrow") == 7
