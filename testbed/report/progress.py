"""Shows on standard error how a run goes on: a bar in a terminal, terse lines elsewhere.

Rules:

- Standard output belongs to the report (and to --json).
- A file or a pipe gets no control character, and at most one line of load for every tenth of it.
- The time shown is the run's own (`elapsed_ns`), not this process's.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from testbed.recording.progress import LoadProgress, Phase, Warned
from testbed.recording.progress import Progress as Event
from testbed.report import format as scale

_STEPS: Final = 10


class RunProgress:
    """A context manager that shows the events of a run."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._said_step = -1
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[counts]}", markup=False),
                console=self._console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, event: Event) -> None:
        """Shows one event."""
        if isinstance(event, Phase):
            self.phase(event.text)
        elif isinstance(event, LoadProgress):
            self.load(event)
        elif isinstance(event, Warned):
            self.warning(event.text)

    def phase(self, text: str) -> None:
        """A new part of the run has begun."""
        self._said_step = -1
        if self._bar is None:
            self._console.print(Text(f"testbed: {text}"), highlight=False, soft_wrap=True)
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(text, total=None, counts="")

    def warning(self, text: str) -> None:
        """A line that stays, above the bar where there is one."""
        line = Text(f"testbed: warning: {scale.clean(text)}", style="yellow")
        self._console.print(line, highlight=False, soft_wrap=True)

    def load(self, event: LoadProgress) -> None:
        """How far the clients are."""
        share = fraction_done(event)
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("load", total=1.0, counts="")
            self._bar.update(self._task, total=1.0, completed=share, counts=load_text(event))
            return
        step = int(share * _STEPS)
        if step > self._said_step:
            self._said_step = step
            text = Text(f"testbed: load: {load_text(event)}")
            self._console.print(text, highlight=False, soft_wrap=True)


def fraction_done(event: LoadProgress) -> float:
    """How much of the load is done, 0..1: by requests or by time, whichever is further."""
    shares = [0.0]
    if event.limit:
        shares.append((event.completed + event.failed) / event.limit)
    if event.duration_ns:
        shares.append(event.elapsed_ns / event.duration_ns)
    return min(1.0, max(shares))


def load_text(event: LoadProgress) -> str:
    """``120/200 requests, 3 failed, 1.2 s``."""
    done = scale.count(event.completed + event.failed)
    limit = f"/{scale.count(event.limit)}" if event.limit is not None else ""
    failed = f", {scale.count(event.failed)} failed" if event.failed else ""
    seconds = event.elapsed_ns / 1e9
    end = f" of {scale.duration(event.duration_ns)}" if event.duration_ns else ""
    return f"{done}{limit} requests{failed}, {seconds:.1f} s{end}"
