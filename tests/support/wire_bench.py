"""The wire of netem in a sandbox, from the outside: orders in, what was seen out."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from types import TracebackType
from typing import Final

import msgspec

from tests.support.people import REPOSITORY, environment
from tests.support.wire_lab import Answer, Orders, Seen

_DEADLINE_S: Final = 150.0
"""A lab lasts seconds on an emulated CPU that nobody else uses."""


class WireBench:
    """One sandbox with a process that carries out one order after the other."""

    def __enter__(self) -> WireBench:
        read, self._lifeline = os.pipe()
        command = [sys.executable, "-m", "tests.support.wire_lab"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "testbed.sandbox", str(read), *command],
            cwd=REPOSITORY,
            env=environment(),
            pass_fds=[read],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        os.close(read)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        os.close(self._lifeline)  # ends the sandbox, whatever it is doing
        self._process.wait()
        self._process.stdout.close()

    def run(self, orders: Orders) -> Seen:
        """Carries the orders out, on a pair of nodes of their own.

        Raises:
            AssertionError: it failed, and how; or it gave no answer in time.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(orders) + b"\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], _DEADLINE_S)[0]:
            raise AssertionError(f"no answer within {_DEADLINE_S:g} s to {orders}")
        answer = msgspec.json.decode(self._process.stdout.readline(), type=Answer)
        if answer.seen is None:
            raise AssertionError(answer.error)
        return answer.seen
