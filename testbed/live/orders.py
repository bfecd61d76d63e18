"""What the user's program asks of a running experiment, and what the schedule does by itself.

Lines of JSON come through a pipe (`testbed.recording.progress.Order`); each is answered among the
progress.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec

from testbed import clock
from testbed.errors import RequestError, TestbedError
from testbed.live.links import LinkControl
from testbed.recording.progress import Changed, ChangeOrder, OnProgress, Order, Refused
from testbed.units import NS_PER_S

_CHUNK_BYTES: Final = 65536


class Orders:
    """The pipe of a run's orders, and its schedule.

    Args:
        links: what they change.
        tell: takes the answers.
        descriptor: of the pipe; None: nobody gives orders.
    """

    def __init__(self, links: LinkControl, tell: OnProgress, descriptor: int | None) -> None:
        self._links = links
        self._tell = tell
        self._descriptor = descriptor
        self._rest = b""
        self.stop_asked = False
        """Whether the program asked for the end of the run."""

    def descriptors(self) -> list[int]:
        """What is to be waited for."""
        return [] if self._descriptor is None else [self._descriptor]

    def wait_s(self, at_most_s: float) -> float:
        """How long may be waited before `act` has something to do."""
        next_ns = self._links.next_change_ns
        if next_ns is None:
            return at_most_s
        return max(0.0, min(at_most_s, (next_ns - clock.monotonic_ns()) / NS_PER_S))

    def act(self, ready: list[int]) -> None:
        """Makes the changes that are due, and takes the orders that have come.

        Raises:
            TestbedError: a change could not be made although it was allowed.
        """
        self._links.make_due_changes()
        if self._descriptor not in ready or self._descriptor is None:
            return
        part = os.read(self._descriptor, _CHUNK_BYTES)
        if not part:
            self._descriptor = None
            return
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            self._take(msgspec.json.decode(line, type=Order))

    def _take(self, order: Order) -> None:
        if not isinstance(order, ChangeOrder):
            self.stop_asked = True
            return
        try:
            changes = self._links.change(order.link, order.direction, order.settings)
        except TestbedError as error:
            self._tell(
                Refused(
                    number=order.number,
                    exit_code=error.exit_code,
                    message=str(error),
                    where=error.where,
                )
            )
            if not isinstance(error, RequestError):
                raise  # what is in force is not known: the run has failed
        else:
            self._tell(Changed(number=order.number, changes=changes))
