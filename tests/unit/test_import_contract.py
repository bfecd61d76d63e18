"""Rule: imports point one way (the contracts are in pyproject.toml), and nothing heavy is imported
before it is needed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("polars", "numpy", "trio", "httpx", "httpcore", "hypercorn", "mininet", "plotly", "jinja2")


def modules_after(statement: str) -> set[str]:
    """The modules that an interpreter has after one statement."""
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout))


def test_the_contracts_hold() -> None:
    # As a process: import-linter keeps the modules that it read in its own interpreter's path.
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "statement", ["import testbed", "import testbed.run", "import testbed.pytest_plugin"]
)
def test_the_doors_import_nothing_heavy(statement: str) -> None:
    found = modules_after(statement)
    assert [name for name in HEAVY if name in found] == []
    assert not any(name.startswith(("testbed.analysis", "testbed.report")) for name in found)


@pytest.mark.parametrize(
    ("process", "never"),
    [
        ("testbed.network.relay.forwarder", ("trio", "mininet", "polars", "httpx", "hypercorn")),
        ("testbed.probes.sampler", ("trio", "mininet", "polars", "httpx", "hypercorn")),
        ("testbed.load.__main__", ("mininet", "polars", "hypercorn")),
        ("testbed.server.__main__", ("mininet", "polars", "httpx")),
        ("testbed.analysis.summary", ("trio", "mininet", "httpx", "hypercorn")),
    ],
)
def test_a_process_imports_only_what_it_works_with(process: str, never: tuple[str, ...]) -> None:
    found = modules_after(f"import {process}")
    assert [name for name in never if name in found] == []
