"""Rule: who asks for more than his machine was found to do is told so in one line, with both
numbers; nobody else is told anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.calibration import store
from testbed.calibration.beyond import warnings_for
from testbed.calibration.record import Calibration
from testbed.errors import ScenarioError
from testbed.run import run_checked
from testbed.scenario import Link, Scenario, Way
from tests.builders.calibrations import NO_KERNEL, backend, calibration, rate

BAD = {"long_run_error_ratio": 0.1}
END = " (testbed calibrate, 2026-11-25)"


TOPOLOGIES = """
from mininet.topo import Topo

class Pair(Topo):
    def build(self, **link):
        self.addHost("a")
        self.addHost("b")
        self.addLink("a", "b", **link)

class Bare(Pair):
    def build(self):
        super().build(delay="1ms")

class Direct(Pair):
    def build(self):
        super().build()

class Many(Topo):
    def build(self, n=1):
        for node in range(n + 1):
            self.addHost(f"h{node}", role="host" if node in (0, n) else "router")
        for node in range(n):
            self.addLink(f"h{node}", f"h{node + 1}", capacity="100mbit", delay="1ms")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text(TOPOLOGIES)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return store.writable_path()


def warned(found: Calibration, topology: str = "single_bottleneck", **fields: Any) -> list[str]:
    target = store.path()
    assert target is not None
    store.write(found, target)
    return warnings_for(Scenario(topology=topology, **fields))


def test_without_a_calibration_nothing_is_said() -> None:
    assert warnings_for(Scenario(topology="dumbbell", link=Link(capacity="10gbit"))) == []


def test_what_is_within_is_not_mentioned() -> None:
    assert warned(calibration()) == []
    assert warned(calibration(), link=Link(capacity="100mbit")) == []


def test_a_capacity_beyond_the_limit() -> None:
    found = warned(calibration(), link=Link(capacity="101mbit"))
    assert found == [
        "client-r1 reverse (and 1 more): capacity 101 Mbit/s, and by the relay no more than "
        "100 Mbit/s was found faithful here" + END
    ]


def test_one_direction_beyond_it() -> None:
    links = {"r1-server": Link(forward=Way(capacity="200mbit"))}
    assert warned(calibration(), links=links) == [
        "r1-server forward: capacity 200 Mbit/s, and by the relay no more than 100 Mbit/s was "
        "found faithful here" + END
    ]


def test_a_capacity_that_only_the_schedule_brings() -> None:
    later = Way(capacity="10mbit", schedule=("at 1s: capacity 200mbit", "at 2s: capacity 20mbit"))
    links = {"r1-server": Link(forward=later)}
    (found,) = warned(calibration(), links=links)
    assert found.startswith("r1-server forward: capacity 200 Mbit/s, and by the relay")


def test_a_delay_that_only_the_schedule_brings() -> None:
    links = {"a-b": Link(delay="20ms", reverse=Way(schedule=("at 1s: delay 1ms",)))}
    (found,) = warned(calibration(backend(p99_us=300)), "own.py:Pair", links=links)
    assert found.startswith("a-b reverse: without a capacity a delay of 1 ms is faithful up to")


def test_a_trace_counts_with_its_peak() -> None:
    # 100 packets of 1500 bytes in 10 ms of each second: 1.2 Mbit/s on average, 12 in 100 ms.
    times = [*(400 + n // 10 for n in range(100)), 1000]
    Path("burst.trace").write_text("\n".join(map(str, times)))
    slow = calibration(backend(rates=(rate(10),)))
    links = {"r1-server": Link(forward=Way(capacity="trace burst.trace"))}
    found = warned(slow, links=links, link_backend="relay")
    assert found[0].startswith("r1-server forward: capacity 12 Mbit/s, and by the relay")


def test_a_trace_that_is_shorter_than_a_window_goes_on() -> None:
    links = {"r1-server": Link(forward=Way(capacity="trace steady_12mbit"))}
    found = warned(calibration(backend(rates=(rate(10),))), links=links)
    assert found[0].startswith("r1-server forward: capacity 12 Mbit/s, and by the relay")


def test_a_limit_in_time() -> None:
    # 606 us late at p99: half of what a full frame takes at 10 Mbit/s, 1211 us.
    late = calibration(backend(p99_us=606))
    assert warned(late)[0].startswith("client-r1 reverse (and 1 more): capacity 10 Mbit/s, and")
    assert warned(late, link=Link(capacity="9mbit")) == []


def test_a_machine_that_keeps_nothing() -> None:
    nothing = calibration(backend(rates=(rate(1, **BAD),)))
    assert warned(nothing) == [
        "client-r1 reverse (and 1 more): capacity 10 Mbit/s, and by the relay no capacity that was "
        "measured was found faithful here" + END
    ]


def test_more_packets_than_were_carried() -> None:
    few = backend(carried=None, tcp=None)
    assert warned(calibration(few), link=Link(capacity="100mbit")) == []
    slow = backend(tcp=None)
    for links, said in ((6, False), (7, True)):
        # Each pair of directions at 100 Mbit/s allows 16 513 full frames per second.
        found = warned(calibration(slow), "own.py:Many", topology_options={"n": links})
        assert bool(found) is said


def test_a_network_without_any_capacity_is_held_against_the_verdicts_bound() -> None:
    found = calibration(backend(p99_us=300))
    fields: dict[str, Any] = {"topology": "own.py:Bare"}
    assert warned(found, **fields) == [
        "a-b forward: without a capacity a delay of 1 ms is faithful up to 250 µs beyond it, and "
        "here it was 300 µs at p99" + END
    ]
    assert warned(calibration(backend(p99_us=249)), **fields) == []


def test_a_network_without_a_wire_has_nothing_to_be_beyond() -> None:
    assert warned(calibration(backend(p99_us=9000)), "own.py:Direct") == []


def test_the_backend_that_the_run_will_take_counts() -> None:
    both = calibration(backend(rates=(rate(1),)), backend("kernel"))
    assert warned(both) == []
    assert "by the relay" in warned(both, seed=7)[0]
    assert "by the relay" in warned(both, link_backend="relay")[0]
    # What netem cannot do goes by the relay.
    assert "by the relay" in warned(both, link=Link(loss="every 23"))[0]
    slow = calibration(backend(), backend("kernel", rates=(rate(1),)))
    assert "by the kernel" in warned(slow, link_backend="kernel")[0]


def test_a_backend_that_was_not_measured_is_not_judged() -> None:
    assert warned(calibration(NO_KERNEL)) == []
    assert warned(calibration(backend(rates=(rate(1),)), NO_KERNEL), link_backend="kernel") == []


def test_a_damaged_one_is_mentioned_once(state: Path) -> None:
    state.parent.mkdir()
    state.write_text("{")
    found = warnings_for(Scenario(topology="single_bottleneck"))
    assert len(found) == 1
    assert str(state) in found[0]
    assert found[0].endswith("; testbed calibrate")


def test_a_stale_one_is_silent(state: Path) -> None:
    text = calibration(backend(rates=(rate(1),)))
    store.write(text, state)
    state.write_bytes(state.read_bytes().replace(text.machine.kernel.encode(), b"0.99"))
    assert warnings_for(Scenario(topology="single_bottleneck")) == []


def test_a_forecast_that_fails_leaves_nothing_half_made(state: Path, tmp_path: Path) -> None:
    store.write(calibration(), state)
    with pytest.raises(ScenarioError):
        run_checked(Scenario(topology="nosuch"), tmp_path / "run", lambda _event: None)
    assert not (tmp_path / "run").exists()
