"""A wire without a log: what the captures tell, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.scenario.impairments import Bernoulli
from tests.builders.impaired import (
    WAY,
    analysed,
    assert_trusted,
    change,
    direction,
    row,
    rule,
    send,
)
from tests.builders.recordings import MS, START, US, Run
from tests.builders.transfers import reasons


class TestKernelWire:
    """Without a log: what the captures tell, and no more."""

    def test_copies_are_what_came_twice(self, tmp_path: Path) -> None:
        run = Run(wire="kernel", settings={WAY: {"duplicate": Bernoulli(ratio=0.1)}})
        send(run, 230, lambda n: {"copied": "r1-server"} if n % 10 == 9 else {})
        summary = analysed(run, tmp_path)
        link = direction(summary)
        assert (link.sent_packets, link.delivered_packets, link.duplicated_packets) == (
            230,
            253,
            23,
        )
        assert rule(summary, "duplication").holds
        one = row(summary, "r1-server reverse: wire")
        assert (one.entered, one.made, one.left, one.balanced) == (230, 23, 253, True)
        assert link.notes == ["duplicated: those that came; whether a copy was lost is not seen"]
        assert_trusted(summary)

    def test_what_was_not_asked_for_unbalances_the_ledger(self, tmp_path: Path) -> None:
        run = Run(wire="kernel")
        send(run, 30, lambda n: {"copied": "r1-server"} if n == 9 else {})
        summary = analysed(run, tmp_path)
        assert direction(summary).duplicated_packets is None
        assert row(summary, "r1-server reverse: wire").balanced is False

    def test_corrupted_packets_are_those_that_nobody_sent(self, tmp_path: Path) -> None:
        run = Run(wire="kernel", settings={WAY: {"corrupt": Bernoulli(ratio=0.8)}})
        send(run, 230, lambda n: {"corrupted": "r1-server"} if n % 10 == 9 else {})
        summary = analysed(run, tmp_path)
        link = direction(summary)
        assert (link.delivered_packets, link.lost_packets, link.corrupted_packets) == (230, 0, 23)
        found = rule(summary, "corruption")
        assert found.configured_ratio == pytest.approx(0.8 * 128 / 1066)
        assert found.holds
        assert len(link.notes) == 1
        assert "at least" in link.notes[0]
        # Flips in payloads are in no capture: how many a checksum had to find is not known.
        assert row(summary, "corrupted: dropped by checksum").balanced is None
        assert summary.ledger.balanced

    def test_a_flip_that_no_digest_covers_is_not_seen_and_not_zero(self, tmp_path: Path) -> None:
        run = Run(wire="kernel", settings={WAY: {"corrupt": Bernoulli(ratio=0.01)}})
        send(run, 50, lambda n: {"corrupted": "r1-server", "flip": 400} if n == 9 else {})
        assert direction(analysed(run, tmp_path)).corrupted_packets is None

    def test_loss_and_duplication_together(self, tmp_path: Path) -> None:
        rules = {
            "loss": Bernoulli(ratio=0.1),
            "loss_ratio": 0.1,
            "duplicate": Bernoulli(ratio=0.2),
        }
        run = Run(wire="kernel", settings={WAY: rules})

        def what(number: int) -> dict[str, Any]:
            if number % 25 in (1, 8):
                return {"lost": "r1-server"}
            return {"copied": "r1-server"} if number % 25 in (3, 9, 15, 21) else {}

        send(run, 1000, what)
        summary = analysed(run, tmp_path)
        assert rule(summary, "loss").configured_ratio == pytest.approx(0.1 * 0.8)
        assert rule(summary, "duplication").configured_ratio == pytest.approx(0.2 * 0.9**2)
        one = row(summary, "r1-server reverse: wire")
        assert (one.entered, one.made, one.left, one.dropped) == (1000, 160, 1080, 80)
        assert_trusted(summary)

    def test_a_change_leaves_out_what_came_while_tc_was_at_it(self, tmp_path: Path) -> None:
        run = Run(wire="kernel")
        change(run, 10 * MS, delay_ns=3 * MS)
        run.changes[0] = msgspec.structs.replace(run.changes[0], done_ns=START + 11 * MS)
        send(run, 200, lambda n: {"extra_ns": 2 * MS} if n >= 103 else {})
        summary = analysed(run, tmp_path)
        assert {reason.status for reason in reasons(summary, "delay error")} == {"faithful"}

    def test_another_rule_counts_as_long_as_it_was_in_force(self, tmp_path: Path) -> None:
        run = Run(wire="kernel", settings={WAY: {"loss": Bernoulli(ratio=0.1)}})
        change(run, 90 * MS - 50 * US, duplicate=Bernoulli(ratio=0.5))
        send(run, 1000, lambda n: {"lost": "r1-server"} if n % 10 == 9 else {})
        # 899 packets without duplication, 100 with it, and one while tc was at work.
        configured = rule(analysed(run, tmp_path), "loss").configured_ratio
        assert configured == pytest.approx(0.1 * (1 - 0.5 * 100 / 1000), rel=1e-3)

    def test_copies_are_thinned_by_each_loss_in_its_time(self, tmp_path: Path) -> None:
        run = Run(wire="kernel", settings={WAY: {"duplicate": Bernoulli(ratio=0.2)}})
        change(run, 50 * MS - 50 * US, loss=Bernoulli(ratio=0.5), loss_ratio=0.5)
        send(run, 1000, lambda n: {"copied": "r1-server"} if n % 8 == 5 else {})
        configured = rule(analysed(run, tmp_path), "duplication").configured_ratio
        assert configured == pytest.approx(0.2 * (1 + 0.5**2) / 2, rel=1e-2)

    def test_corruption_counts_from_its_change_whatever_the_delay_is(self, tmp_path: Path) -> None:
        run = Run(wire="kernel")
        change(run, 10 * MS, delay_ns=21 * MS, corrupt=Bernoulli(ratio=0.8))

        def what(number: int) -> dict[str, Any]:
            if number < 100:
                return {}
            flipped = {"corrupted": "r1-server"} if number % 10 == 9 else {}
            return {"extra_ns": 20 * MS, **flipped}

        send(run, 330, what)
        found = rule(analysed(run, tmp_path), "corruption")
        assert (found.packets, found.count) == (229, 23)
