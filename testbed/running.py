"""An experiment that goes on while its program looks on and changes links.

    with start(Scenario(topology="dumbbell", load=Load(duration="20s"))) as running:
        time.sleep(5)
        running.change("r1-r2", loss="5%")
        running.change("r1-r2", "forward", capacity="2mbit", delay="50ms")
        recording = running.wait()

Rules:

- The run goes on in a thread of its own; what it raises is raised by whichever of `change` and
  `wait` finds out first.
- A change returns when it is in force, and is in the manifest of the recording.
- Leaving the block without `wait` waits; leaving it by an exception stops the run, as Ctrl-C does,
  and keeps what was recorded.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from testbed.errors import RequestError, RunError
from testbed.recording.manifest import AppliedChange
from testbed.recording.progress import (
    LOAD_PHASE,
    Changed,
    ChangeOrder,
    OnProgress,
    Order,
    Phase,
    Progress,
    Refused,
    StopOrder,
)
from testbed.run import Recording, check, run_checked
from testbed.scenario import Scenario
from testbed.scenario.model import Way
from testbed.scenario.reading import read

_POLL_S: Final = 0.1


def start(
    scenario: Scenario,
    out: Path | None = None,
    on_progress: OnProgress | None = None,
    command: Sequence[str] = (),
) -> Running:
    """Starts `scenario` and returns while it goes on.

    Args:
        scenario: what to do; without a seed one is drawn and recorded.
        out: the recording's folder, new or empty; None: a new one below ``runs``.
        on_progress: is told how the run goes on, from another thread.
        command: as in `run`.

    Raises:
        RequestError: the scenario is wrong (nothing was made).
        MachineError: this machine cannot do it (nothing was made).
    """
    check(scenario)
    running = Running(scenario, out, on_progress, command)
    running.wait_until_begun()
    return running


class Running:
    """An experiment that goes on; made by `start`."""

    def __init__(
        self,
        scenario: Scenario,
        out: Path | None,
        on_progress: OnProgress | None,
        command: Sequence[str] = (),
    ) -> None:
        self._on_progress = on_progress or (lambda _event: None)
        self._orders_read, self._orders = os.pipe2(os.O_CLOEXEC)
        self._orders_lock = threading.Lock()
        self._began = threading.Event()
        self._load_began = threading.Event()
        self._answers: dict[int, Changed | Refused] = {}
        self._answered = threading.Condition()
        self._number = 0
        self._recording: Recording | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(scenario, out, command), name="testbed-run", daemon=True
        )
        self._thread.start()

    def _run(self, scenario: Scenario, out: Path | None, command: Sequence[str]) -> None:
        try:
            self._recording = run_checked(scenario, out, self._tell, self._orders_read, command)
        except BaseException as error:  # noqa: BLE001 - raised again in the program's own thread
            self._error = error
        finally:
            os.close(self._orders_read)
            self._began.set()
            self._load_began.set()
            with self._answered:
                self._answered.notify_all()

    def wait_until_begun(self) -> None:
        """Returns when the recording's folder is made.

        Raises:
            TestbedError: it could not be.
        """
        self._began.wait()
        if self._error is not None:
            self._close()
            raise self._error

    def _tell(self, event: Progress) -> None:
        self._began.set()
        if isinstance(event, Phase) and event.text == LOAD_PHASE:
            self._load_began.set()
        if isinstance(event, Changed | Refused):
            with self._answered:
                self._answers[event.number] = event
                self._answered.notify_all()
        else:
            self._on_progress(event)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return not self._thread.is_alive()

    def wait_for_load(self) -> None:
        """Returns when the clients were told to begin.

        Raises:
            TestbedError: the run failed before that.
        """
        self._load_began.wait()
        if self._error is not None:
            raise self._error

    def change(
        self, link: str, direction: str | None = None, /, **settings: object
    ) -> list[AppliedChange]:
        """Changes a link now; returns when all of it is in force.

        Waits for the load to begin. What is queued or on the wire stays, and so does every setting
        that is not named.

        Args:
            link: its name: ``r1-server``.
            direction: ``forward`` or ``reverse``; None: both.
            **settings: as in a scenario: ``loss="5%"``, ``capacity="2mbit"``.

        Returns:
            One change for each direction, with the time from which on it holds.

        Raises:
            RequestError: no such link, or it cannot be changed so; nothing was.
            RunError: the run is over, or the change failed.
        """
        found = read(Way, settings)
        if found.value is None:
            text = "; ".join(str(finding.as_problem()) for finding in found.findings)
            raise RequestError(text, where=f'link "{link}"')
        if found.value == Way():
            raise RequestError("expected a setting to change (got none)", where=f'link "{link}"')
        self.wait_for_load()
        self._number += 1
        number = self._number
        order = ChangeOrder(number=number, link=link, direction=direction, settings=found.value)
        self._give(order)
        with self._answered:
            while number not in self._answers and not self.is_over:
                self._answered.wait(_POLL_S)
        answer = self._answers.get(number)
        if isinstance(answer, Changed):
            return answer.changes
        if isinstance(answer, Refused):
            kind = RequestError if answer.exit_code == RequestError.exit_code else RunError
            raise kind(answer.message, where=answer.where)
        raise self._error or RunError("the load is over: nothing can be changed any more")

    def stop(self) -> None:
        """Asks the run to end, as Ctrl-C does; what was recorded is kept."""
        self._give(StopOrder())

    def _give(self, order: Order) -> None:
        """Writes an order; what nobody takes any more is not answered."""
        with self._orders_lock, contextlib.suppress(BrokenPipeError):
            if self._orders >= 0:
                os.write(self._orders, msgspec.json.encode(order) + b"\n")

    def _close(self) -> None:
        with self._orders_lock:
            if self._orders >= 0:
                os.close(self._orders)
                self._orders = -1

    def wait(self) -> Recording:
        """The recording, once the run has ended and was analysed.

        Raises:
            RunError: it failed or was interrupted; what was recorded is analysed as far as it goes.
        """
        self._thread.join()
        self._close()
        if self._error is not None:
            raise self._error
        if self._recording is None:
            raise RunError("the run left no recording")
        return self._recording

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.stop()
        self._thread.join()
        self._close()
        if error is None and self._error is not None:
            raise self._error
