"""Waiting for a server to be ready, from the process that started it.

Rules:

- Ready means that a connection was accepted by the kernel: the server listens, and it listens only
  after the application was imported and its lifespan startup has ended.
- The attempt is the caller's, for it must be made inside the network namespace.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from testbed.errors import MachineError, ProcessError, RequestError, TestbedError
from testbed.units import NS_PER_S

PAUSE_NS: Final = 10_000_000
_LAST_LINES: Final = 30
_TAIL_BYTES: Final = 16 * 1024


class Process(Protocol):
    """What is needed of a process: `subprocess.Popen` has it."""

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""


def last_lines(log: Path) -> str:
    """The last 30 lines of a log; nothing where it has none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-_LAST_LINES:])


def wait_until_ready(
    process: Process,
    connect: Callable[[], None],
    *,
    name: str,
    log: Path,
    timeout_ns: int,
    now: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Tries to connect until it succeeds; returns how many attempts that took.

    Args:
        process: the server's.
        connect: opens a connection and closes it; raises OSError when it could not.
        name: of the process, for messages.
        log: its standard error.
        timeout_ns: limit on the whole.
        now: the clock, in ns.
        sleep: sleeps for seconds.

    Raises:
        RequestError: it refused its request (exit code 2), such as an application that is not
            there.
        MachineError: it cannot have what it was asked for (exit code 3).
        ProcessError: it ended, or was not ready in time; with the last lines of its log.
    """
    deadline_ns = now() + timeout_ns
    attempts = 0
    while True:
        exit_code = process.poll()
        if exit_code is not None:
            raise _ended(name, exit_code, log)
        attempts += 1
        try:
            connect()
        except OSError as error:
            problem = str(error)
        else:
            return attempts
        if now() >= deadline_ns:
            raise ProcessError(
                f"{name} was not ready within {timeout_ns / NS_PER_S:g} s "
                f"({attempts} attempts to connect, the last one: {problem})",
                where=name,
                last_lines=last_lines(log),
            )
        sleep(PAUSE_NS / NS_PER_S)


def _ended(name: str, exit_code: int, log: Path) -> TestbedError:
    lines = last_lines(log)
    if exit_code == MachineError.exit_code:
        return MachineError(lines or f"{name} cannot have what it was asked for", where=name)
    if exit_code == RequestError.exit_code:
        return RequestError(lines or f"{name} refused its configuration", where=name)
    how = f"exit code {exit_code}" if exit_code >= 0 else f"signal {-exit_code}"
    return ProcessError(f"{name} ended before it was ready ({how})", where=name, last_lines=lines)
