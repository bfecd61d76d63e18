from __future__ import annotations

import numpy as np

from testbed.analysis.topology import Topology
from testbed.recording.manifest import Direction, Interface, LinkRecord, Manifest, Node
from testbed.scenario import Scenario


def link(a: str, b: str) -> LinkRecord:
    first, second = (f"{a}-{b}", f"{b}-{a}")
    return LinkRecord(
        name=first,
        wire="direct",
        bottleneck=False,
        forward=Direction(sender=a, sender_interface=first, receiver=b, receiver_interface=second),
        reverse=Direction(sender=b, sender_interface=second, receiver=a, receiver_interface=first),
    )


def manifest() -> Manifest:
    """h1 - s1 - s2 - h2, with h3 at s1; interface a-b of a leads to b."""
    numbers = {"h1-s1": 1, "h3-s1": 2, "s1-h1": 3, "s1-h3": 4, "s1-s2": 5, "s2-s1": 6}
    numbers |= {"s2-h2": 7, "h2-s2": 8}

    def node(name: str, role: str, *others: str) -> Node:
        interfaces = [
            Interface(
                name=f"{name}-{other}", mac=f"02:00:00:00:00:{numbers[f'{name}-{other}']:02x}"
            )
            for other in others
        ]
        return Node(name=name, role=role, interfaces=interfaces)  # type: ignore[arg-type]

    return Manifest(
        testbed_version="",
        versions={},
        kernel="",
        cpus=1,
        started_utc="",
        scenario=Scenario(topology="x"),
        seed=1,
        link_backend="relay",
        nodes=[
            node("h1", "client", "s1"),
            node("h3", "client", "s1"),
            node("s1", "switch", "h1", "h3", "s2"),
            node("s2", "switch", "s1", "h2"),
            node("h2", "server", "s2"),
        ],
        links=[link("h1", "s1"), link("h3", "s1"), link("s1", "s2"), link("s2", "h2")],
    )


def outgoing(node: str, interface: str, *macs: int) -> list[bool]:
    sources = np.array([0x020000000000 + number for number in macs], np.uint64)
    found = Topology(manifest()).outgoing(
        node, ["other", interface], np.ones(len(macs), np.uint8), sources
    )
    return [bool(value) for value in found]


def test_at_a_host_its_own_address_goes_out() -> None:
    assert outgoing("h1", "h1-s1", 1, 8, 2) == [True, False, False]


def test_at_a_switch_the_side_of_the_port_decides() -> None:
    """s1's port to s2: frames of h2 (8) and s2's ports (6, 7) come in, of h1 and h3 go out."""
    assert outgoing("s1", "s1-s2", 8, 6, 7, 1, 2) == [False, False, False, True, True]
    assert outgoing("s1", "s1-h1", 1, 2, 8) == [False, True, True]
    assert outgoing("s2", "s2-s1", 1, 2, 3, 8) == [False, False, False, True]


def test_an_interface_that_the_manifest_does_not_know_sends_nothing() -> None:
    assert outgoing("h1", "h1-eth9", 1, 2) == [False, False]
    assert outgoing("nobody", "x", 1) == [False]
