"""The recording that is analysed: a real run, as large as asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from testbed.errors import EXIT_INVALID, RunError

PACKETS_PER_REQUEST: Final = 15_400
"""Captured at four interfaces, of 5 MB in segments of 1448 bytes and their acknowledgements."""
_CAPACITY: Final = "100mbit"
"""Slow enough that dumpcap keeps up on two CPUs."""
_TIMEOUT_S: Final = 600


def make(out: Path, packets: int) -> None:
    """Runs downloads over a link with loss and reordering, all probes on.

    Raises:
        RunError: the run failed. That it is found invalid (late, on a busy machine) is no failure.
    """
    requests = max(1, round(packets / PACKETS_PER_REQUEST))
    argv = [
        sys.executable, "-m", "testbed.cli", "run", "single_bottleneck",
        "--app", "stream", "--path", "/?size=5MB&chunk=64kB", "--requests", str(requests),
        "--users", str(min(8, requests)), "--capacity", _CAPACITY, "--delay", "1ms",
        "--queue", "200p", "--loss", "0.5%", "--reorder", "0.5%", "--congestion-control", "cubic",
        "--link-backend", "relay", "--probes", "all", "--seed", "7", "--out", str(out),
    ]  # fmt: skip
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise RunError(f"the run took longer than {_TIMEOUT_S} s") from error
    if done.returncode not in (0, EXIT_INVALID):
        raise RunError(f"the run ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
