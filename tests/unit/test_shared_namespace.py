"""Switches share a namespace: what is sampled there is counted once, for the one that owns it."""

from __future__ import annotations

import polars as pl

from testbed.analysis.evidence import without_neighbours
from testbed.recording.manifest import Interface, Node


def node(name: str, *interfaces: str, switch: bool = True) -> Node:
    return Node(
        name=name,
        role="switch" if switch else "host",
        interfaces=[Interface(name=one, mac="", addresses=[]) for one in interfaces],
    )


def test_an_interface_is_its_owners() -> None:
    nodes = [
        node("s1", "s1-eth1"), node("s2", "s2-eth1"),
        node("a", "eth0", switch=False), node("b", "eth0", switch=False),
    ]  # fmt: skip
    rows = [
        ("s1", "s1-eth1", 1), ("s1", "s2-eth1", 23), ("s1", "s1", 2), ("s1", "s2", 3),
        ("s2", "s1-eth1", 1), ("s2", "s2-eth1", 23), ("s2", "w0a", 5),
        ("a", "eth0", 6), ("b", "eth0", 7), ("a", "lo", 0),
    ]  # fmt: skip
    table = pl.DataFrame(rows, schema=("node", "interface", "dropped_packets"), orient="row")
    found = without_neighbours(table, nodes)
    assert found.rows() == [
        ("s1", "s1-eth1", 1), ("s1", "s1", 2), ("s2", "s2-eth1", 23), ("s2", "w0a", 5),
        ("a", "eth0", 6), ("b", "eth0", 7), ("a", "lo", 0),
    ]  # fmt: skip
