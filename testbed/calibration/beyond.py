"""What a scenario asks for against what this machine was found to do.

Rules:

- One line at most, with both numbers: the worst that can be said. It is a forecast; what was is the
  verdict's to say.
- Only what has a wire is looked at, and the bounds are the verdict's.
- A direction counts with the highest capacity that it ever has, those of its schedule included, and
  a trace with its peak: the busiest 100 ms of it.
- A direction without a capacity counts for nothing in the sum of packets: the load decides what
  goes over it.
- Without a calibration that counts nothing is said, but that a stored one cannot be read.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from testbed.analysis.verdict import NEAR, time_bound
from testbed.calibration import store
from testbed.calibration.limits import full_frames_per_s
from testbed.calibration.record import Backend, BackendName, Calibration, Limits
from testbed.errors import ScenarioError
from testbed.network.plan import NetworkPlan, make_plan
from testbed.network.topology import load_topology
from testbed.recording.manifest import Direction, LinkRecord
from testbed.report.format import count, duration, rate
from testbed.scenario import Scenario
from testbed.scenario.impairments import MTU_BYTES, Trace
from testbed.scenario.model import DIRECTIONS, DirectionName
from testbed.scenario.tables import read_trace

_PEAK_WINDOW_MS: Final = 100
"""As of the peak use in a report."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One direction with all the settings that it will have."""

    label: str
    settings: tuple[Direction, ...]

    @property
    def most_bit_s(self) -> int | None:
        """None: it never has a capacity."""
        return max((c for c in map(_capacity_bit_s, self.settings) if c is not None), default=None)

    @property
    def least_delay_ns(self) -> int:
        return min(way.delay_ns for way in self.settings)


def warnings_for(scenario: Scenario) -> list[str]:
    """What to say of a scenario before it runs; nothing or one line.

    Raises:
        ScenarioError: the scenario is wrong.
    """
    stored = store.read()
    if stored.damaged:
        return [f"the calibration of this machine does not count: {stored.reason}; {store.AGAIN}"]
    if stored.calibration is None:
        return []
    plan, backend = _planned(scenario, stored.calibration)
    said = None if backend is None else beyond(plan.links, backend)
    if said is None:
        return []
    day = stored.calibration.measured_utc.partition("T")[0]
    return [f"{said} ({store.AGAIN}, {day})"]


def _planned(scenario: Scenario, found: Calibration) -> tuple[NetworkPlan, Backend | None]:
    """The plan and what is known of the backend that a run will choose."""
    topo = load_topology(scenario.topology, scenario.topology_options)
    name: BackendName = "relay" if scenario.link_backend == "auto" else scenario.link_backend
    # As the run itself: `auto` takes netem where there is one, unless a seed is given. Whether
    # there is one the calibration knows, for it is of this kernel.
    if scenario.link_backend == "auto" and scenario.seed is None and found.of("kernel"):
        try:
            return make_plan(topo, scenario, "kernel"), found.of("kernel")
        except ScenarioError:
            pass  # netem cannot do what the links are to do
    return make_plan(topo, scenario, name), found.of(name)


def beyond(links: Sequence[LinkRecord], backend: Backend) -> str | None:
    """The worst that can be said of these links on a machine with these limits."""
    limits = backend.limits
    ways = [
        _Way(f"{link.name} {name}", _settings(link, name))
        for link in links
        if link.wire == backend.name
        for name in DIRECTIONS
    ]
    if limits is None or not ways:
        return None
    return (
        _too_fast(ways, limits, backend)
        or _too_many(ways, limits, backend)
        or _too_fine(links, ways, limits)
    )


def _settings(link: LinkRecord, name: DirectionName) -> tuple[Direction, ...]:
    """All that one direction is set to, one after the other."""
    built = link.forward if name == "forward" else link.reverse
    later = (change.settings for change in link.schedule if change.direction == name)
    return (built, *later)


def _capacity_bit_s(way: Direction) -> int | None:
    return way.capacity_bit_s if way.trace is None else _peak_bit_s(way.trace)


def _peak_bit_s(trace: Trace) -> int:
    """Of IP packets, like the mean of a trace; one that is shorter than a window goes on."""
    period_ms = trace.period_ms
    turns = 1 + -(-_PEAK_WINDOW_MS // period_ms)
    once = read_trace(trace.name)
    times_ms = [turn * period_ms + time_ms for turn in range(turns) for time_ms in once]
    most = max(
        bisect.bisect_left(times_ms, time_ms + _PEAK_WINDOW_MS) - place
        for place, time_ms in enumerate(times_ms[: len(once)])
    )
    return most * MTU_BYTES * 8 * 1000 // _PEAK_WINDOW_MS


def _too_fast(ways: Sequence[_Way], limits: Limits, backend: Backend) -> str | None:
    """Capacities above the limit."""
    fast = [(way.most_bit_s, way.label) for way in ways if way.most_bit_s is not None]
    fast = [pair for pair in fast if pair[0] > limits.capacity_bit_s]
    if not fast:
        return None
    most, label = max(fast, key=lambda pair: pair[0])
    others = f" (and {len(fast) - 1} more)" if len(fast) > 1 else ""
    by = "the relay" if backend.name == "relay" else "the kernel"
    here = (
        f"no more than {rate(limits.capacity_bit_s)}"
        if limits.capacity_bit_s
        else "no capacity that was measured"
    )
    return f"{label}{others}: capacity {rate(most)}, and by {by} {here} was found faithful here"


def _too_many(ways: Sequence[_Way], limits: Limits, backend: Backend) -> str | None:
    """More packets than were carried, were all links full."""
    capacities = [way.most_bit_s for way in ways if way.most_bit_s is not None]
    allowed = sum(full_frames_per_s(capacity) for capacity in capacities)
    if backend.name != "relay" or limits.packets_per_s is None or allowed <= limits.packets_per_s:
        return None
    return (
        f"the {len(capacities)} capacities on the relay's wires allow {count(round(allowed))} full "
        f"packets/s in all, and the relay carried {count(round(limits.packets_per_s))} here"
    )


def _too_fine(links: Sequence[LinkRecord], ways: Sequence[_Way], limits: Limits) -> str | None:
    """A network without any capacity, in which delays are off by more than the verdict allows."""
    every = [way for link in links for way in (link.forward, link.reverse)]
    if any(way.capacity_bit_s is not None for way in every):
        return None
    least = min(ways, key=lambda way: way.least_delay_ns)
    bound = round(NEAR * time_bound(None, least.least_delay_ns)[0])
    if limits.delay_error_p99_ns <= bound:
        return None
    return (
        f"{least.label}: without a capacity a delay of {duration(least.least_delay_ns)} is "
        f"faithful up to {duration(bound)} beyond it, and here it was "
        f"{duration(limits.delay_error_p99_ns)} at p99"
    )
