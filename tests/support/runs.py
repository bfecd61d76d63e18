"""The scenario that most tests of whole runs share, and how to run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from testbed.recording.layout import Layout
from testbed.recording.manifest import Manifest, read_manifest
from testbed.scenario import Link, Load, Scenario

CLI: Final = [sys.executable, "-m", "testbed.cli"]
DELAY_MS: Final = 20
OPTIONS: Final = {
    "--users": "4",
    "--capacity": "10mbit",
    "--delay": f"{DELAY_MS}ms",
    "--loss": "2%",
    "--seed": "7",
}
"""The run that the project must show, as it is typed (without --requests)."""


def scenario(requests: int = 60, **fields: Any) -> Scenario:
    """The same as a value, with fewer requests than the 200 of the demonstration."""
    return Scenario(
        **{
            "topology": "single_bottleneck",
            "link": Link(capacity="10mbit", delay=f"{DELAY_MS}ms", loss="2%"),
            "load": Load(users=4, requests=requests),
            "seed": 7,
            **fields,
        }
    )


def run_argv(out: Path, requests: int = 60, **options: str) -> list[str]:
    """The command line of that run; ``app="x:y"`` gives ``--app x:y``."""
    chosen = {**OPTIONS, **{f"--{name}": value for name, value in options.items()}}
    words = [word for pair in chosen.items() for word in pair]
    return [
        *CLI, "run", "single_bottleneck", *words, "--requests", str(requests), "--out", str(out),
    ]  # fmt: skip


def manifest_of(root: Path) -> Manifest:
    """The manifest of a recording."""
    return read_manifest(Layout(root))


def unfinished(root: Path) -> list[str]:
    """Files that still have the name of one that is being written."""
    return sorted(path.name for path in root.rglob("*.partial"))
