"""Rule: what a link was set to do is what its log, its captures and its summary say was done.

Patterns are exact here, so that nothing depends on chance; one run for all of it.
"""

from __future__ import annotations

from typing import Final

import pytest

from testbed import Link, Load, Recording, Scenario, run
from testbed.recording.layout import Layout
from tests.support.relay_log import Fate, read_relay_log

LINK: Final = Link(
    capacity="20mbit",
    delay="5ms",
    loss="every 101",
    duplicate="every 53",
    corrupt="every 89",
    reorder="every 37 extent 2",
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    scenario = Scenario(
        topology="single_bottleneck",
        app="stream",
        link=LINK,
        load=Load(users=3, requests=60, path="/?size=50kB"),
        seed=7,
    )
    return run(scenario, tmp_path_factory.mktemp("impairments") / "run")


@pytest.fixture(scope="module")
def log(recording: Recording) -> list[Fate]:
    """Of what goes to the client: the data."""
    return read_relay_log(Layout(recording.root).segment("link.client-r1"), "reverse")


def test_every_row_of_the_ledger_balances(recording: Recording) -> None:
    wrong = [row for row in recording.summary.ledger.rows if row.balanced is False]
    assert wrong == []
    assert recording.summary.ledger.balanced


def test_each_rule_met_exactly_its_packets(recording: Recording) -> None:
    for link, way in (("client-r1", "reverse"), ("r1-server", "forward")):
        direction = recording.summary.links[link][way]  # type: ignore[index]
        assert {found.impairment: found.holds for found in direction.impairments} == {
            "loss": True,
            "duplication": True,
            "corruption": True,
            "reordering": True,
        }


def test_the_summary_counts_what_the_log_has(recording: Recording, log: list[Fate]) -> None:
    packets = len({packet.number for packet in log})
    direction = recording.summary.links["client-r1"]["reverse"]
    assert packets > 1000, "too few packets for this test to say anything"
    assert direction.sent_packets == packets
    assert direction.lost_packets == packets // 101
    lost = {number for number in range(packets) if number % 101 == 100}
    copied = {number for number in range(packets) if number % 53 == 52} - lost
    corrupted = {number for number in range(packets) if number % 89 == 88} - lost
    assert direction.duplicated_packets == len(copied)
    assert direction.corrupted_packets == len(corrupted)


def test_reordering_in_the_captures_is_that_of_the_log(
    recording: Recording, log: list[Fate]
) -> None:
    # RFC 4737 from the captures at both ends, against the relay's own order of departure.
    direction = recording.summary.links["client-r1"]["reverse"]
    left = sorted((p for p in log if p.fate == "delivered"), key=lambda p: p.departure_ns)
    seen: set[int] = set()
    highest, reordered = -1, 0
    for packet in left:
        if packet.number not in seen:
            reordered += packet.number < highest
            highest = max(highest, packet.number)
            seen.add(packet.number)
    assert reordered > 20
    assert direction.reordered_packets == reordered


def test_what_was_corrupted_was_dropped_by_a_checksum(recording: Recording) -> None:
    rows = [row for row in recording.summary.ledger.rows if row.what.startswith("corrupted")]
    assert [row.balanced for row in rows] == [True]
    assert rows[0].dropped
