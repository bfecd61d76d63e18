"""Starts a command in a sandbox and stands for it outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self


class Sandbox:
    """A command that runs in private namespaces.

    The sandbox lives as long as this object's lifeline: when this process ends, however it ends,
    the sandbox does.

    Args:
        command: the argument vector to run in there.
        pass_fds: descriptors that the command inherits.
        own_session: detach it from the terminal, so that Ctrl-C comes here alone (`interrupt`
            passes it on); False for a command that talks to the terminal itself.
        stdout: where the command's standard output goes; None: here.
        stderr: where the command's and the sandbox's standard error go; None: here.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        own_session: bool = True,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> None:
        lifeline_read, self._lifeline = os.pipe2(os.O_CLOEXEC)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "testbed.sandbox", str(lifeline_read), *command],
                pass_fds=[lifeline_read, *pass_fds],
                start_new_session=own_session,
                stdin=subprocess.DEVNULL if own_session else None,
                stdout=stdout,
                stderr=stderr,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline_read)

    def interrupt(self) -> None:
        """Asks the command to stop and to keep what it has (SIGINT)."""
        self.process.send_signal(signal.SIGINT)

    def wait(self, timeout_s: float | None = None) -> int:
        """The command's exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it did not end within `timeout_s`.
        """
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """Ends whatever is left in the sandbox, and waits until it is gone."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
