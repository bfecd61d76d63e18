"""Rule: a change of a link holds from its time on and replaces what it names and nothing else.

No packet is lost by it, and it is in the recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from testbed import Link, Load, Running, Scenario, start
from testbed.errors import RequestError, RunError
from testbed.recording.layout import Layout
from testbed.recording.manifest import Manifest, read_manifest
from tests.support.relay_log import Fate, read_relay_log

MS: Final = 1_000_000


def scenario(schedule: tuple[str, ...] | None = None) -> Scenario:
    return Scenario(
        topology="single_bottleneck",
        seed=7,
        link=Link(delay="10ms", loss="every 23", schedule=schedule),
        load=Load(duration="3s", users=2),
        probes="light",
    )


def log_of(root: Path, direction: str) -> list[Fate]:
    return read_relay_log(Layout(root).segment("link.r1-server"), direction)


def planned_delays_ns(log: list[Fate], begin_ns: int, end_ns: int) -> set[int]:
    return {p.due_ns - p.arrival_ns for p in log if begin_ns <= p.arrival_ns < end_ns}


def test_a_schedule_is_kept_to_the_packet(tmp_path: Path) -> None:
    from testbed import run

    texts = ("at 500ms: delay 20ms", "at 1s: capacity 5mbit, queue 10p", "at 1500ms: delay 5ms")
    recording = run(scenario(schedule=texts), tmp_path / "run")
    manifest = read_manifest(Layout(recording.root))
    began_ns = manifest.load_started_ns
    assert began_ns is not None
    made = [change for change in manifest.changes if change.link == "r1-server"]
    assert [(change.direction, change.text, change.source) for change in made] == [
        ("forward", text.partition(": ")[2], "schedule") for text in texts
    ]
    # On the relay's wire to the nanosecond; what tc does, when it can.
    assert [made[place].at_ns - began_ns for place in (0, 2)] == [500 * MS, 1500 * MS]
    assert made[1].done_ns - began_ns >= 1000 * MS
    log = log_of(recording.root, "forward")
    edges = [began_ns, began_ns + 500 * MS, began_ns + 1500 * MS, 2**62]
    # Where a delay becomes shorter, the first packets wait for those before them.
    assert planned_delays_ns(log, edges[0], edges[1]) == {10 * MS}
    assert planned_delays_ns(log, edges[1], edges[2]) == {20 * MS}
    assert planned_delays_ns(log, edges[2] + 20 * MS, edges[3]) == {5 * MS}
    # The rest of the settings stayed.
    last = made[-1].settings
    assert (last.capacity_bit_s, last.queue_packets, last.loss_ratio) == (5_000_000, 10, 1 / 23)
    assert [p.number for p in log if p.fate == "lost"] == list(range(22, len(log), 23))
    assert recording.summary.ledger.balanced


def changed(running: Running) -> None:
    (change,) = running.change("r1-server", "forward", delay="30ms", loss="every 5")
    assert (change.direction, change.text, change.source) == (
        "forward",
        "delay 30ms, loss every 5",
        "python",
    )
    assert [c.direction for c in running.change("r1-server", delay="40ms")] == [
        "forward",
        "reverse",
    ]


def test_a_program_changes_links(tmp_path: Path) -> None:
    with start(scenario(), tmp_path / "run") as running:
        changed(running)
        recording = running.wait()
    manifest: Manifest = read_manifest(Layout(recording.root))
    first, second, third = manifest.changes
    log = log_of(recording.root, "forward")
    assert planned_delays_ns(log, second.at_ns, 2**62) == {40 * MS}
    # The rules of the first change began with a packet: from there on every fifth is lost.
    lost = {p.number for p in log if p.fate == "lost"}
    after = [p.number for p in log if p.arrival_ns >= first.at_ns]
    before = [p.number for p in log if p.arrival_ns < first.at_ns]
    assert lost == {n for n in before if n % 23 == 22} | {n for n in after if n % 5 == 4}
    assert third.settings.delay_ns == 40 * MS
    assert recording.summary.ledger.balanced


@pytest.mark.parametrize(
    ("link", "direction", "settings", "message"),
    [
        pytest.param("r1-serve", None, {"delay": "1ms"}, 'did you mean "r1-server"', id="no link"),
        pytest.param("r1-server", "back", {"delay": "1ms"}, "forward or reverse", id="direction"),
        pytest.param("r1-server", None, {"delay": "1"}, "delay: expected a time", id="value"),
        pytest.param("r1-server", None, {"dealy": "1ms"}, 'did you mean "delay"', id="setting"),
        pytest.param("r1-server", None, {}, "expected a setting", id="nothing"),
        pytest.param(
            "r1-server", "forward", {"queue": "codel 100p"}, "discipline cannot", id="discipline"
        ),
        pytest.param("r1-server", "reverse", {"capacity": "1mbit"}, "has none", id="no capacity"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(
    session: Running, link: str, direction: str | None, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        session.change(link, direction, **settings)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("live") / "run"
    with start(scenario(), root) as running:
        yield running
        recording = running.wait()
    assert read_manifest(Layout(recording.root)).changes == []


def test_after_the_load_nothing_can_be_changed(tmp_path: Path) -> None:
    short = Scenario(topology="single_bottleneck", load=Load(requests=1), seed=7, probes="none")
    with start(short, tmp_path / "run") as running:
        running.wait()
        with pytest.raises(RunError, match="the load is over"):
            running.change("r1-server", delay="1ms")


def raise_when_the_load_began(running: Running) -> None:
    running.wait_for_load()
    raise ZeroDivisionError("mine")


def test_an_error_in_the_block_stops_the_run_and_keeps_it(tmp_path: Path) -> None:
    root = tmp_path / "run"
    running = start(scenario(), root)
    with pytest.raises(ZeroDivisionError, match="mine"), running:
        raise_when_the_load_began(running)
    assert running.is_over
    assert read_manifest(Layout(root)).state == "interrupted"


def test_a_change_that_never_came_is_told(tmp_path: Path) -> None:
    from testbed import run

    late = Scenario(
        topology="single_bottleneck",
        link=Link(schedule=("at 1min: loss 1%",)),
        load=Load(requests=3),
        seed=7,
        probes="none",
    )
    recording = run(late, tmp_path / "run")
    told = [text for text in recording.summary.warnings if "the load ended before" in text]
    assert len(told) == 2
