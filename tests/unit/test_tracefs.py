"""Rule: only an instance of ours is ever touched, and one that is in use never."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.sandbox import tracefs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that stands for tracefs."""
    (tmp_path / "instances").mkdir()
    return tmp_path


def ended_process() -> str:
    """A name whose owner has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        name = tracefs.name_for(owner.pid)
        assert not tracefs.owner_is_gone(name)
    return name


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / "instances" / name).mkdir()


def left(root: Path) -> set[str]:
    return {path.name for path in (root / "instances").iterdir()}


def test_two_names_of_one_owner_differ() -> None:
    first, second = tracefs.name_for(os.getpid()), tracefs.name_for(os.getpid())
    assert first != second
    assert tracefs.is_ours(first)
    assert not tracefs.owner_is_gone(first)


def test_what_belongs_to_a_process_that_is_gone_is_left_over(root: Path) -> None:
    gone, mine = ended_process(), tracefs.name_for(os.getpid())
    make(root, gone, mine, "somebody-elses")
    assert list(tracefs.left_over(root)) == [gone]


def test_a_process_id_that_was_used_again_is_not_the_owner() -> None:
    namespace, process, started, rest = tracefs.name_for(os.getpid()).split("-")[1:]
    again = f"testbed-{namespace}-{process}-{int(started) - 1}-{rest}"
    assert tracefs.owner_is_gone(again)


@pytest.mark.parametrize(
    "name",
    ["", "trace", "testbed", "testbed-1-2-3", "testbed-1-2-3-xyz", "my-testbed-1-2-3-ab", "../x"],
)
def test_other_names_are_not_ours(root: Path, name: str) -> None:
    assert not tracefs.is_ours(name)
    assert not tracefs.owner_is_gone(name)
    assert not tracefs.remove(root, name, within_s=0)


def test_an_owner_of_another_pid_namespace_is_left_alone() -> None:
    assert not tracefs.owner_is_gone("testbed-1-999999999-1-ab")


def test_an_instance_that_is_gone_already_is_removed(root: Path) -> None:
    assert tracefs.remove(root, ended_process(), within_s=0)


def test_an_instance_that_is_read_stays_and_is_said_to(root: Path) -> None:
    name = ended_process()
    make(root, name)
    # A folder with something in it cannot be removed, like an instance whose ring is open.
    (root / "instances" / name / "trace_pipe_raw").touch()
    assert not tracefs.remove(root, name, within_s=0.05)
    assert tracefs.reap(root) == []
    assert left(root) == {name}
