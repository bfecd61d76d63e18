"""Where a recording goes when nobody says where.

``runs/<UTC time>-<topology>`` under the current folder,
``runs/20261122T153000Z-single_bottleneck``. Names sort by time; a second run in the same second
gets ``-2``. Making the folder claims the name, so two runs that start at once never share one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

from testbed.errors import RecordingError

DEFAULT_PARENT: Final = Path("runs")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]+")


def stem(topology: str) -> str:
    """What of a topology's name goes into a folder's: ``ring.py:Ring`` gives ``Ring``."""
    name = topology.rpartition(":")[2] or topology
    return _UNFIT.sub("_", name.rpartition("/")[2]).strip("._-")[:40] or "run"


def claim_folder(topology: str, now: datetime, parent: Path = DEFAULT_PARENT) -> Path:
    """A new, empty folder for a run of `topology` that starts `now`, mode 0700.

    Raises:
        RecordingError: it cannot be made.
    """
    name = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{stem(topology)}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in count(1):
            root = parent / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                root.mkdir(mode=0o700)
            except FileExistsError:
                continue
            return root
    except OSError as error:
        raise RecordingError(
            f"cannot make a folder for the recording in {parent}: {error.strerror}"
            "; say where with --out DIR",
            where=str(parent),
        ) from error
    raise AssertionError("count() has no end")
