"""Rule: what is waited for has a deadline, and what was said instead is told."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from testbed.calibration.measure import wait_for_words
from testbed.errors import RunError

SILENT = "import time; time.sleep(60)"


def waited(program: str, within_s: float) -> None:
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            wait_for_words(process, b"listening", within_s)
        finally:
            process.kill()


def test_words_are_found_though_more_is_to_come() -> None:
    waited(f"print('Server listening on 5201', flush=True); {SILENT}", 30)


def test_who_says_nothing_is_not_waited_for_without_end() -> None:
    began = time.monotonic()
    with pytest.raises(RunError, match=r"did not start within 0\.2 s: it said nothing"):
        waited(SILENT, 0.2)
    assert time.monotonic() - began < 30


def test_who_ends_is_told_with_what_he_said() -> None:
    with pytest.raises(RunError, match="did not start: bad option"):
        waited("print('bad option')", 30)
