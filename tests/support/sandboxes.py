"""Commands in a sandbox, their output caught."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.people import REPOSITORY, as_ordinary_user, environment

DEADLINE_S = 60.0
"""No command of these tests takes 5 s on an idle machine; the CPUs are shared with others."""


def in_sandbox(
    command: Sequence[str],
    *,
    ordinary_user: bool = False,
    folder: Path = REPOSITORY,
    deadline_s: float = DEADLINE_S,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Runs `command` in a sandbox of its own and returns its exit code and output."""
    read, write = os.pipe()
    argv = [sys.executable, "-m", "testbed.sandbox", str(read), *command]
    try:
        return subprocess.run(
            as_ordinary_user(argv) if ordinary_user else argv,
            cwd=folder,
            env=environment(**variables),
            pass_fds=[read],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=deadline_s,
        )
    finally:
        os.close(read)
        os.close(write)
