"""Every error that the testbed raises on purpose.

    TestbedError                 .exit_code  .where  .wanted  .got
    +-- RequestError             2: what was asked for is wrong
    |   +-- QuantityError           a number, a unit or its bounds
    |   +-- ScenarioError           a topology, an option, a file (carries every problem of it)
    +-- MachineError             3: this machine cannot do it (and how to get it)
    |   +-- SandboxError            private namespaces
    |   +-- ToolMissingError        a program that is not installed
    +-- RunError                 4: the run failed
    |   +-- ToolError               ip, tc, sysctl ... ended with an error (argv, exit code, stderr)
    |   +-- ReadBackError           a setting that reads back other than it was set
    |   +-- ProcessError            the server or a load process died (its last lines)
    |   +-- Interrupted             Ctrl-C or SIGTERM
    +-- RecordingError           2: a folder that is no recording, or is damaged

The command line turns an error into one message on standard error and its `exit_code`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

EXIT_DONE = 0
EXIT_EXPECTATION_FAILED = 1
EXIT_WRONG_REQUEST = 2
EXIT_MACHINE_CANNOT = 3
EXIT_RUN_FAILED = 4
EXIT_INVALID = 5

_LONGEST_SHOWN: Final = 120


def shown(value: object) -> str:
    """A value as a message shows it, shortened where it is long."""
    if isinstance(value, str):
        return f'"{shortened(value)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    try:
        return shortened(str(value))
    except ValueError:  # Python does not write whole numbers of more than 4300 digits
        return "a number of thousands of digits"


def bare(value: object) -> str:
    """A value that is no text where a quantity was expected: a number lacks its unit."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{shown(value)}, without a unit" if is_number else shown(value)


def shortened(text: str) -> str:
    """A text as it is, or its beginning where it is long."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


class TestbedError(Exception):
    """Root of all errors raised on purpose.

    Attributes:
        where: the place, in the user's terms: ``links[2].capacity``, ``--loss``, a node's name.
        wanted: what would have been accepted.
        got: what was found instead.
    """

    __test__ = False  # pytest: this is no test class
    exit_code = EXIT_RUN_FAILED

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        wanted: str | None = None,
        got: object = None,
    ) -> None:
        super().__init__(message)
        self.where = where
        self.wanted = wanted
        self.got = got


class RequestError(TestbedError):
    """What was asked for is wrong."""

    exit_code = EXIT_WRONG_REQUEST


class QuantityError(RequestError):
    """A quantity that cannot be read, or lies outside its bounds.

    The message has no place in it; who knows the place adds it (see `Problem`).
    """


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a request."""

    where: str
    """The place: ``links[2].capacity`` or ``--loss``."""
    message: str
    """What was expected and what was got."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class ScenarioError(RequestError):
    """A scenario with problems; all of them at once, in the order of the file."""

    def __init__(self, problems: Sequence[Problem], *, source: str | None = None) -> None:
        self.problems = tuple(problems)
        self.source = source
        head = f"{source}: " if source else ""
        if len(self.problems) == 1:
            text = f"{head}{self.problems[0]}"
        else:
            lines = "".join(f"\n  {problem}" for problem in self.problems)
            text = f"{head}{len(self.problems)} problems{lines}"
        super().__init__(text, where=self.problems[0].where if self.problems else None)


class MachineError(TestbedError):
    """This machine lacks an ability that the request needs; the message says how to get it."""

    exit_code = EXIT_MACHINE_CANNOT


class SandboxError(MachineError):
    """Private namespaces could not be had."""


class ToolMissingError(MachineError):
    """A program is not installed."""


class RunError(TestbedError):
    """The run failed after it had begun."""

    exit_code = EXIT_RUN_FAILED


class ToolError(RunError):
    """A tool ended with an error.

    Attributes:
        argv: the command, word for word.
        returncode: its exit code.
        stderr: what it said.
    """

    def __init__(self, argv: Sequence[str], returncode: int, stderr: str) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stderr = stderr
        super().__init__(
            f"`{' '.join(argv)}` ended with exit code {returncode}: "
            f"{stderr.strip() or 'no message'}"
        )


class ReadBackError(RunError):
    """A setting was made without an error and reads back as something else."""


class ProcessError(RunError):
    """A server or load process died or never became ready.

    Attributes:
        last_lines: the end of its log.
    """

    def __init__(self, message: str, *, where: str, last_lines: str = "") -> None:
        self.last_lines = last_lines
        tail = f"\n--- last lines of {where} ---\n{last_lines.rstrip()}" if last_lines else ""
        super().__init__(message + tail, where=where)


class Interrupted(RunError, KeyboardInterrupt):  # noqa: N818 - a stop that was asked for
    """The user stopped the run (SIGINT or SIGTERM).

    It is a KeyboardInterrupt as well, so that pytest ends its session instead of failing one test.
    """


class RecordingError(TestbedError):
    """A folder is no recording, or part of it cannot be read."""

    exit_code = EXIT_WRONG_REQUEST
