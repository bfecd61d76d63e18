"""Fixtures of the tests that build networks: one run that many tests look at, and a guard over all.

Each of these tests runs in private namespaces: they need no privilege and run beside anything.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Recording, run
from testbed.doctor import missing_tools
from tests.support import host
from tests.support.process_table import MARK, command_line, marked
from tests.support.runs import scenario
from tests.support.sandboxes import in_sandbox


@pytest.fixture(scope="session", autouse=True)
def machine_can_do_it() -> None:
    """Skips where there are no private namespaces or no tools, and says which."""
    lacking = missing_tools()
    if lacking:
        pytest.skip(f"programs that are not installed: {', '.join(lacking)}")
    tried = in_sandbox(["true"])
    if tried.returncode != 0:
        pytest.skip(f"no private namespaces: {tried.stderr.strip()}")


@pytest.fixture(scope="session", autouse=True)
def mark(machine_can_do_it: None) -> Iterator[str]:
    """Marks every process that these tests start; none of them is left at the end of the session,
    and the machine is as it was."""
    name = uuid.uuid4().hex
    os.environ[MARK] = name
    before = host.look()
    try:
        yield name
        left = {process: command_line(process) for process in marked(name)}
        assert left == {}
        assert host.changes(before, host.look()) == []
    finally:
        del os.environ[MARK]


@pytest.fixture(scope="session")
def shared_run(mark: str, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The run that the project must show, with 60 requests; nobody writes to its folder."""
    return run(scenario(), tmp_path_factory.mktemp("shared") / "run")


@pytest.fixture(scope="session")
def shared_root(shared_run: Recording) -> Path:
    """Its folder."""
    return shared_run.root
