"""These tests need a kernel with netem and more: elsewhere they are skipped, and say why.

`.ci/run kernel` runs them on a kernel that has all of it and sets TESTBED_KERNEL_SUITE; a test that
is skipped is then a failure, so that the stage cannot pass without having looked.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterator
from typing import Any, Final

import pytest

from testbed.doctor import missing_tools
from tests.support import kernel_features
from tests.support.kernel_runs import CommandLineRun, command_line_run
from tests.support.process_table import MARK, command_line, marked

_MUST_RUN: Final = "TESTBED_KERNEL_SUITE"


def _not_skipped(report: Any, where: object) -> None:
    if os.environ.get(_MUST_RUN) and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{where}: may not be skipped with {_MUST_RUN}: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _not_skipped(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _not_skipped(report, collector.nodeid)
    return report


@pytest.fixture(scope="session", autouse=True)
def kernel_has_netem() -> None:
    lacking = missing_tools()
    if lacking:
        pytest.skip(f"programs that are not installed: {', '.join(lacking)}")
    if "netem" not in kernel_features.found():
        pytest.skip("this kernel has no netem; `.ci/run kernel` runs these tests on one that has")


@pytest.fixture(scope="session", autouse=True)
def mark(kernel_has_netem: None) -> Iterator[str]:
    """Marks every process that these tests start; none of them is left at the end."""
    name = uuid.uuid4().hex
    os.environ[MARK] = name
    try:
        yield name
        assert {process: command_line(process) for process in marked(name)} == {}
    finally:
        del os.environ[MARK]


@pytest.fixture(scope="session")
def kernel_run(mark: str, tmp_path_factory: pytest.TempPathFactory) -> CommandLineRun:
    """A run with netem's links that several tests look at; nobody writes to its folder."""
    return command_line_run(tmp_path_factory.mktemp("kernel") / "run", "kernel")


@pytest.fixture(scope="session")
def relay_run(mark: str, tmp_path_factory: pytest.TempPathFactory) -> CommandLineRun:
    """The same with the relay's."""
    return command_line_run(tmp_path_factory.mktemp("relay") / "run", "relay")
