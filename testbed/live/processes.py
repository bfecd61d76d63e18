"""Starts processes in nodes, watches them and ends them.

Rules:

- Every process has a name, a session of its own (a terminal's Ctrl-C reaches only who conducts) and
  its two logs.
- Standard input is its lifeline: closing it asks it to end; whoever does not is sent SIGTERM, then
  SIGKILL.
- None outlives `Processes`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, Self, TypeAlias

from testbed.errors import ProcessError
from testbed.live.waiting import readable
from testbed.network.tools import find_tool
from testbed.recording.layout import Layout
from testbed.recording.manifest import ProcessRecord

Kind: TypeAlias = Literal["server", "load", "relay", "sampler", "capture", "tracer"]
_PATIENT_S: Final = (2.0, 1.0)
_HURRIED_S: Final = (0.25, 0.15)
"""How long a process may take to end after its lifeline closed, and then after SIGTERM."""
_TAIL_BYTES: Final = 8192
_TAIL_LINES: Final = 20


class ManagedProcess:
    """A process in a node.

    Attributes:
        more_patience_s: what one without a lifeline may take longer than others to end.
    """

    def __init__(
        self, name: str, kind: Kind, node: str, popen: subprocess.Popen[bytes], log: Path
    ) -> None:
        self.name = name
        self.kind = kind
        self.node = node
        self.popen = popen
        self.log = log
        self.pidfd = os.pidfd_open(popen.pid)
        self.about: dict[str, int | str] = {}
        self.ready_fd: int | None = None
        """Of a server: a pipe on which it says once that it listens."""
        self.more_patience_s = 0.0
        self._is_asked = False

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self.popen.poll()

    def last_lines(self) -> str:
        """The end of its standard error."""
        data = self.log.read_bytes()[-_TAIL_BYTES:]
        return "\n".join(data.decode(errors="replace").splitlines()[-_TAIL_LINES:])

    def died(self, when: str) -> ProcessError:
        """The error for an end that nobody asked for."""
        return ProcessError(
            f"{self.name} ended {when} ({self.how_it_ended()})",
            where=self.name,
            last_lines=self.last_lines(),
        )

    def read_line(self, timeout_s: float) -> bytes:
        """The next line of its standard output.

        Raises:
            ProcessError: it ended, or said nothing in time.
        """
        stream: IO[bytes] | None = self.popen.stdout
        if stream is None:
            raise ValueError(f"{self.name} has no pipe on its standard output")
        line = b""
        deadline = time.monotonic() + timeout_s
        while not line.endswith(b"\n"):
            if not readable([stream.fileno()], deadline - time.monotonic()):
                raise ProcessError(
                    f"{self.name} said nothing within {timeout_s:g} s",
                    where=self.name,
                    last_lines=self.last_lines(),
                )
            part = os.read(stream.fileno(), 65536)
            if not part:
                raise self.died("early")
            line += part
        return line

    def write_line(self, line: bytes) -> None:
        """Writes a line to its standard input.

        Raises:
            ProcessError: it has ended.
        """
        if self.popen.stdin is None:
            raise ValueError(f"{self.name} has no pipe on its standard input")
        try:
            self.popen.stdin.write(line + b"\n")
            self.popen.stdin.flush()
        except BrokenPipeError as error:
            raise self.died("early") from error

    def read_ready(self, timeout_s: float) -> str:
        """What a server says when it listens; nothing of one that has no pipe for it.

        Raises:
            ProcessError: it ended, or said nothing in time.
        """
        if self.ready_fd is None:
            return ""
        ready = readable([self.ready_fd], timeout_s)
        said = os.read(self.ready_fd, 64).decode().strip() if ready else ""
        os.close(self.ready_fd)
        self.ready_fd = None
        if not said:
            raise (
                self.died("before it listened")
                if ready
                else ProcessError(
                    f"{self.name} did not listen within {timeout_s:g} s",
                    where=self.name,
                    last_lines=self.last_lines(),
                )
            )
        return said

    def ask_to_end(self) -> None:
        """Closes its lifeline; one that has none is sent SIGTERM."""
        if self.popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.popen.stdin.close()
        elif not self._is_asked:
            self._is_asked = True
            self.popen.send_signal(signal.SIGTERM)

    def how_it_ended(self) -> str:
        """Its end in words: ``exit code 4`` or ``signal SIGKILL``."""
        code = self.popen.wait()
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def end(self, *, hurry: bool = False) -> int:
        """Ends it, gently first; returns its exit code.

        Args:
            hurry: somebody pressed Ctrl-C: an application that blocks is not waited for.
        """
        self.ask_to_end()
        term_after_s, kill_after_s = _HURRIED_S if hurry else _PATIENT_S
        steps: tuple[tuple[float, signal.Signals], ...]
        steps = ((term_after_s, signal.SIGTERM), (kill_after_s, signal.SIGKILL))
        if self.popen.stdin is None:
            steps = ((term_after_s + self.more_patience_s, signal.SIGKILL),)
        for patience_s, number in steps:
            try:
                return self.popen.wait(patience_s)
            except subprocess.TimeoutExpired:
                self.popen.send_signal(number)
        return self.popen.wait()

    def close(self) -> None:
        """Gives its descriptors back; for one that has ended."""
        os.close(self.pidfd)
        if self.ready_fd is not None:
            os.close(self.ready_fd)
        if self.popen.stdout is not None:
            self.popen.stdout.close()

    def record(self) -> ProcessRecord:
        """Its line in the manifest."""
        return ProcessRecord(
            name=self.name,
            kind=self.kind,
            node=self.node,
            exit_code=self.exit_code,
            about=self.about,
        )


class Processes:
    """All processes of a run; ends them when it is left."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.all: list[ManagedProcess] = []

    def start(
        self,
        name: str,
        kind: Kind,
        argv: Sequence[str],
        *,
        node: str = "",
        pass_fds: Sequence[int] = (),
        answers: bool = False,
        lifeline: bool = True,
    ) -> ManagedProcess:
        """Starts `argv`, in the network namespace of `node` where one is named.

        Args:
            name: names its logs ``NAME.stdout.log`` and ``NAME.stderr.log``.
            kind: what it is, for the manifest.
            argv: its argument vector.
            node: the node to run in; empty for the sandbox's own namespace.
            pass_fds: descriptors that it inherits; closed here afterwards.
            answers: it writes lines on its standard output that are to be read here.
            lifeline: give it a pipe as standard input.
        """
        if node:
            argv = [find_tool("nsenter"), f"--net=/run/netns/{node}", *argv]
        error_log = self._layout.log(f"{name}.stderr")
        with contextlib.ExitStack() as files:
            stderr = files.enter_context(_new_log(error_log))
            stdout: int | IO[bytes] = subprocess.PIPE
            if not answers:
                stdout = files.enter_context(_new_log(self._layout.log(f"{name}.stdout")))
            try:
                popen = subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE if lifeline else subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=tuple(pass_fds),
                    start_new_session=True,
                )
            finally:
                for descriptor in pass_fds:
                    os.close(descriptor)
        process = ManagedProcess(name, kind, node, popen, error_log)
        self.all.append(process)
        return process

    def of_kind(self, kind: Kind) -> list[ManagedProcess]:
        """The processes of one kind, in the order they were started."""
        return [process for process in self.all if process.kind == kind]

    def end(self, kind: Kind, *, hurry: bool = False) -> list[ManagedProcess]:
        """Ends the processes of a kind that still run, all asked before any is waited for.

        Returns:
            Those that ended with another exit code than 0.
        """
        running = [process for process in self.of_kind(kind) if process.exit_code is None]
        for process in running:
            process.ask_to_end()
        return [process for process in running if process.end(hurry=hurry) != 0]

    def records(self) -> list[ProcessRecord]:
        """All processes, for the manifest."""
        return [process.record() for process in self.all]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self.all:
            process.ask_to_end()
        for process in self.all:
            process.end()
            process.close()


def _new_log(path: Path) -> IO[bytes]:
    """A log, open for writing, mode 0600: an application may print secrets."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb")
