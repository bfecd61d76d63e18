"""The command line as a test calls it, within the process and as one of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from testbed import cli

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended; what it wrote is without colour, which the environment may force."""

    exit_code: int
    stdout: str
    stderr: str


def call(*words: str) -> Ended:
    result = CliRunner().invoke(cli.app, words)
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", text) for text in (result.stdout, result.stderr)]
    return Ended(result.exit_code, *plain)


def process(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """The command as a process of its own; `code` runs before it."""
    program = f"{code}\nfrom testbed.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
