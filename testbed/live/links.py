"""Changes of links while the load runs: by the scenario's schedule and by the user's own program.

Rules:

- A change replaces the settings that it names and no other; what is queued or on the wire stays.
- Each is recorded (`AppliedChange`) with the time from which on it holds. On a relay's wire that is
  exact: the relay has the whole schedule before the load starts and takes each change with the
  first packet that comes at its time or later. What tc changes (capacity, queue, netem) changes
  while a command runs; the time before it and the time after it are recorded.
- A change that cannot be made is an error before anything of it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from testbed import clock
from testbed.errors import Problem, ScenarioError
from testbed.live.processes import ManagedProcess, Processes
from testbed.network import directions as directions_of
from testbed.network import shaping
from testbed.network.build import Network
from testbed.network.live import change_by_tc
from testbed.network.relay.config import RelayAnswer, RelayOrder, WireChange, WireConfig
from testbed.recording.manifest import AppliedChange, Direction, LinkRecord, ScheduledChange
from testbed.scenario.model import DIRECTIONS, DirectionName, Way
from testbed.scenario.names import did_you_mean

_ANSWER_S: Final = 10.0

OnApplied = Callable[[AppliedChange], None]
Source = Literal["schedule", "python"]


class LinkControl:
    """The links of a running network.

    Args:
        network: that stands.
        processes: with the relay, if there is one.
        applied: is told each change when it was made.
    """

    def __init__(self, network: Network, processes: Processes, applied: OnApplied) -> None:
        self._network = network
        self._applied = applied
        self._links = {link.name: link for link in network.plan.links}
        self._now: dict[tuple[str, DirectionName], Direction] = {}
        for link in network.plan.links:
            self._now[link.name, "forward"] = link.forward
            self._now[link.name, "reverse"] = link.reverse
        relays = processes.of_kind("relay")
        self._relay: ManagedProcess | None = relays[0] if relays else None
        self._start_ns: int | None = None
        scheduled = [(link, change) for link in network.plan.links for change in link.schedule]
        self._scheduled: list[tuple[LinkRecord, ScheduledChange]] = sorted(
            scheduled, key=lambda pair: pair[1].at_ns
        )

    def start(self, start_ns: int) -> None:
        """The load starts at `start_ns`: time 0 of the schedule, of outages and of traces.

        Raises:
            ProcessError: the relay has ended.
        """
        self._start_ns = start_ns
        if self._relay is None:
            return
        # Each direction's whole schedule; the relay replaces what it had.
        changes = [change for key in self._now for change in self._coming(key)]
        self._order(RelayOrder(start_ns=start_ns, changes=changes))

    def _coming(self, key: tuple[str, DirectionName]) -> list[WireChange]:
        """The schedule of one direction of a relay's wire, from what it is now."""
        name, way = key
        if self._links[name].wire != "relay" or self._start_ns is None:
            return []
        found = []
        now = self._now[key]
        for link, change in self._scheduled:
            if (link.name, change.direction) == key:
                now = directions_of.changed(now, Way.from_text(change.text), _ignore)
                wire = self._wire(name, now)
                at_ns = self._start_ns + change.at_ns
                if wire is not None:
                    found.append(WireChange(link=name, direction=way, at_ns=at_ns, wire=wire))
        return found

    @property
    def next_change_ns(self) -> int | None:
        """When the next change of the schedule is due; None: there is none."""
        if self._start_ns is None:
            return None
        first = self._scheduled[:1]  # a copy: the shell asks from two threads
        return self._start_ns + first[0][1].at_ns if first else None

    def make_due_changes(self) -> None:
        """Makes the changes of the schedule whose time has come.

        Raises:
            RunError: tc failed, or a setting reads back as another.
        """
        while (at_ns := self.next_change_ns) is not None and at_ns <= clock.monotonic_ns():
            link, change = self._scheduled.pop(0)
            key = (link.name, change.direction)
            # From what it is now: what the program changed meanwhile stays.
            after = self._changed(key, Way.from_text(change.text))
            self._make(key, after, None, change.text, "schedule", at_ns)

    def left_over(self) -> list[str]:
        """The changes of the schedule whose time never came, in words."""
        return [
            f"{link.name} {change.direction}: the load ended before its change at "
            f"{change.at_ns / 1e9:g} s ({change.text})"
            for link, change in self._scheduled
        ]

    def change(self, link: str, direction: str | None, settings: Way) -> list[AppliedChange]:
        """Changes a link now, both ways or one; returns when all is in force.

        Raises:
            ScenarioError: there is no such link, or it cannot be changed so; nothing was.
            RunError: tc or the relay failed.
        """
        if link not in self._links:
            known = ", ".join(self._links)
            message = f"there is no such link (there are: {known}){did_you_mean(link, self._links)}"
            raise ScenarioError([Problem(f'link "{link}"', message)])
        if direction is not None and direction not in DIRECTIONS:
            message = f'expected forward or reverse (got "{direction}")'
            raise ScenarioError([Problem(f"link {link}: direction", message)])
        ways = [way for way in DIRECTIONS if direction in (None, way)]
        text = ", ".join(f"{name} {value}" for name, value in settings.given().items())
        self.make_due_changes()
        afters = [self._changed((link, way), settings) for way in ways]
        # What may still be wrong, such as a file that is gone, is found before anything is done.
        wires = [self._wire(link, after) for after in afters]
        return [
            self._make((link, way), after, wire, text, "python", clock.monotonic_ns())
            for way, after, wire in zip(ways, afters, wires, strict=True)
        ]

    def _wire(self, link: str, after: Direction) -> WireConfig | None:
        """What the relay is told of a direction; None: its link has no relay."""
        if self._links[link].wire != "relay":
            return None
        # A trace cannot change: it need not be sent again.
        return directions_of.wire_config(msgspec.structs.replace(after, trace=None))

    def _changed(self, key: tuple[str, DirectionName], settings: Way) -> Direction:
        """The direction with these settings, checked."""
        name, way = key
        link = self._links[name]
        problems: list[Problem] = []

        def tell(setting: str, message: str) -> None:
            problems.append(Problem(f"link {name}.{way}: {setting}", message))

        after = directions_of.changed(self._now[key], settings, tell)
        if link.wire == "direct" and directions_of.needs_wire(settings):
            tell(
                next(iter(settings.given())),
                "this link has no wire to change; give it one from the start, such as "
                f'links = {{"{name}": {{"delay": "0"}}}}',
            )
        if link.wire == "kernel":
            for setting, why in directions_of.kernel_refusals(after):
                tell(setting, f"the kernel backend cannot do it: {why}")
        if problems:
            raise ScenarioError(problems)
        shaping.tc_change_commands(self._now[key], after)  # raises where tc could not
        return after

    def _make(
        self,
        key: tuple[str, DirectionName],
        after: Direction,
        wire: WireConfig | None,
        text: str,
        source: Source,
        at_ns: int,
    ) -> AppliedChange:
        """Makes one change, due at `at_ns`, and records it.

        Raises:
            RunError: tc or the relay failed: nobody knows then what is in force.
        """
        name, way = key
        link, before = self._links[name], self._now[key]
        index = self._network.plan.links.index(link)
        began_ns, done_ns = change_by_tc(self._network.toolbox, index, link, way, before, after)
        self._now[key] = after
        if wire is not None and source == "python":
            order = WireChange(link=name, direction=way, at_ns=at_ns, wire=wire)
            at_ns = self._order(RelayOrder(changes=[order, *self._coming(key)]))
        elif link.wire != "relay" and began_ns:
            at_ns = began_ns
        change = AppliedChange(
            at_ns=at_ns,
            done_ns=max(at_ns, done_ns),
            link=name,
            direction=way,
            text=text,
            source=source,
            settings=after,
        )
        self._applied(change)
        return change

    def _order(self, order: RelayOrder) -> int:
        """Gives the relay an order; returns from when on it holds (CLOCK_MONOTONIC, ns).

        Raises:
            ProcessError: the relay has ended, or does not answer.
        """
        if self._relay is None:
            raise ValueError("there is no relay")
        self._relay.write_line(msgspec.json.encode(order))
        return msgspec.json.decode(self._relay.read_line(_ANSWER_S), type=RelayAnswer).taken_ns


def _ignore(_setting: str, _message: str) -> None:
    """For settings that were checked already."""
