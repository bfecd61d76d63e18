"""pytest plugin: the fixture `testbed`, for network tests of any project, without root.

    def test_survives_loss(testbed):
        run = testbed.run("single_bottleneck", app="myservice:app", loss="2%", seed=7, requests=100)
        assert run.http.failed == 0
        assert run.verdict.faithful

Rules:

- A run's recording lies in the test's own temporary folder; when the test fails it is moved to
  ``--testbed-keep`` (default ``testbed-failed``) and the test's report says where, so that CI can
  keep it.
- Nothing is imported before a test asks for the fixture: the plugin is loaded into every pytest run
  of its users.
- A machine that cannot do it (no namespaces, tools missing) is an error of the test and not a skip,
  so that a CI that tests nothing is not green; ``--testbed-skip`` turns it into a skip.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testbed import Recording, Running, Scenario

_TESTBED = pytest.StashKey["Testbed"]()


class Testbed:
    """What the fixture `testbed` gives: runs scenarios and looks after their recordings.

    Attributes:
        recordings: the folders of this test's runs, in order.
    """

    __test__ = False

    def __init__(self, folder: Path, *, skip: bool, command: Sequence[str] = ()) -> None:
        self._folder = folder
        self._skip = skip
        self._command = command
        self.recordings: list[Path] = []

    def run(self, target: str | Path | Scenario, **options: object) -> Recording:
        """Runs a topology, ``FILE.py:Class``, ``FILE.toml`` or a `Scenario`.

        Args:
            target: what to run.
            **options: by the names of `Scenario`, `Load` and `Link`, such as ``loss="2%"`` and
                ``requests=100``.

        Raises:
            ScenarioError: the target or an option is wrong.
            RequestError: there is no such application; the parent of `ScenarioError`.
            MachineError: this machine cannot do it.
            RunError: the run failed; the message has the last lines of the log.
        """
        from testbed.run import run

        scenario, root = self._prepared(target, options)
        with self._skipping():
            return run(scenario, root, command=self._command)

    def start(self, target: str | Path | Scenario, **options: object) -> Running:
        """Starts the same and returns while it goes on, so that the test can change links.

        Use it in a ``with`` block; its `wait` gives the recording.

        Args:
            target: as in `run`.
            **options: as in `run`.

        Raises:
            ScenarioError: the target or an option is wrong.
            MachineError: this machine cannot do it.
        """
        from testbed.running import start

        scenario, root = self._prepared(target, options)
        with self._skipping():
            return start(scenario, root, command=self._command)

    def _prepared(
        self, target: str | Path | Scenario, options: dict[str, object]
    ) -> tuple[Scenario, Path]:
        """The scenario and a new folder for its recording."""
        from testbed.scenario import Scenario
        from testbed.scenario.build import build_scenario

        if isinstance(target, Scenario):
            if options:
                raise TypeError("options go with a topology or a file, not with a Scenario")
            scenario = target
        else:
            scenario = build_scenario(target, options)
        root = self._folder / f"run{len(self.recordings) + 1}"
        self.recordings.append(root)
        return scenario, root

    @contextmanager
    def _skipping(self) -> Iterator[None]:
        """Makes a skip of a machine that cannot do it, where that was asked for."""
        from testbed.errors import MachineError

        try:
            yield
        except MachineError as error:
            if self._skip:
                pytest.skip(f"this machine cannot run a testbed: {error}")
            raise

    def keep(self, folder: Path, name: str) -> list[Path]:
        """Moves this test's recordings to ``folder/name-N``; returns where they are now."""
        kept = []
        for root in self.recordings:
            if not root.is_dir():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            target = _free(folder, f"{name}-{root.name}")
            shutil.move(root, target)
            kept.append(target)
        self.recordings = kept
        return kept


def _free(folder: Path, name: str) -> Path:
    target = folder / name
    number = 1
    while target.exists():
        number += 1
        target = folder / f"{name}.{number}"
    return target


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options."""
    group = parser.getgroup("testbed", "network tests with asgi-testbed")
    group.addoption(
        "--testbed-keep",
        metavar="DIR",
        default="testbed-failed",
        help="where the recordings of failed tests go (default: %(default)s)",
    )
    group.addoption(
        "--testbed-skip",
        action="store_true",
        help="skip tests of the testbed on a machine that cannot run it, instead of failing them",
    )


@pytest.fixture
def testbed(request: pytest.FixtureRequest, tmp_path: Path) -> Testbed:
    """Runs network experiments; see `testbed.pytest_plugin.Testbed`."""
    made = Testbed(
        tmp_path / "testbed",
        skip=bool(request.config.getoption("--testbed-skip")),
        command=["pytest", _from_here(request.node)],
    )
    (tmp_path / "testbed").mkdir()
    request.node.stash[_TESTBED] = made
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keeps the recordings of a failed test and says where they are."""
    report = yield
    made = item.stash.get(_TESTBED, None)
    if made is not None and report.failed:
        folder = Path(str(item.config.getoption("--testbed-keep")))
        kept = made.keep(item.config.invocation_params.dir / folder, _file_name(item.nodeid))
        if kept:
            text = "".join(_section(path) for path in kept)
            report.sections.append(("testbed recordings", text))
    return report


def _section(root: Path) -> str:
    """Where a recording is, and what its summary warns of."""
    from testbed.analysis.analyse import load_summary
    from testbed.errors import RecordingError
    from testbed.report.format import clean

    try:
        warnings = load_summary(root).warnings
    except RecordingError:  # the run failed before there was one, and the test's error says why
        warnings = []
    lines = [str(root), str(root / "report.html"), *(f"! {clean(text)}" for text in warnings)]
    return "".join(f"{line}\n" for line in lines)


def _from_here(item: pytest.Item) -> str:
    """The test's id with its file as seen from where pytest was started, and not from its root."""
    here = os.path.relpath(item.path, item.config.invocation_params.dir)
    return here + "".join(item.nodeid.partition("::")[1:])


def _file_name(nodeid: str) -> str:
    # Only the file's part has folders: a parameter may hold a slash, too.
    file, colons, test = nodeid.partition("::")
    name = file.rpartition("/")[2] + colons + test
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")
