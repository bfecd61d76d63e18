"""A run, from the outside: scenario -> (live part) -> recording -> analysis -> report.

    run(scenario)
      |- check    what can be known to be wrong is said before anything is made
      |- live     `python -m testbed.live` in a sandbox: network -> server, load -> probes
      |- analyse  offline, from the recording's files alone
      '- report

Nothing that is imported at the top of this file is heavy: `import testbed` costs every process of
a run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from testbed.doctor import TUN_REMEDY, check_spread_tools, check_tools
from testbed.errors import (
    EXIT_MACHINE_CANNOT,
    EXIT_WRONG_REQUEST,
    Interrupted,
    MachineError,
    RequestError,
    RunError,
    TestbedError,
)
from testbed.live import machine
from testbed.live.config import LiveConfig
from testbed.load.stalls import stalls
from testbed.recording.layout import Layout, create, finish_partials
from testbed.recording.manifest import Manifest, read_manifest, write_manifest
from testbed.recording.naming import claim_folder
from testbed.recording.progress import Failure, Line, OnProgress, Phase, Warned, decode_progress
from testbed.sandbox.launcher import Sandbox
from testbed.sandbox.tracing import TraceAccess, instance_kept
from testbed.scenario import Scenario
from testbed.scenario.tables import describe_send_times
from testbed.version import VERSION

if TYPE_CHECKING:
    from testbed.analysis.summary import Http, Summary, Verdict

_STOP_S: Final = 2.0
"""How long an interrupted run may take to end by itself."""
_EXIT_STOPPED: Final = 128 + signal.SIGINT
_STOPPED: Final = Failure(
    exit_code=_EXIT_STOPPED, message="stopped by the user", where="Ctrl-C or SIGTERM"
)


@dataclass(frozen=True, slots=True)
class Recording:
    """A finished run: its folder and its numbers."""

    root: Path
    summary: Summary

    def __repr__(self) -> str:
        """Short, for failed assertions: the numbers are in the summary."""
        return f"<recording {self.root}: {self.verdict!r}>"

    @property
    def http(self) -> Http:
        """What the clients saw."""
        return self.summary.http

    @property
    def verdict(self) -> Verdict:
        """Whether the emulation can be trusted."""
        return self.summary.verdict


def run(
    scenario: Scenario,
    out: Path | None = None,
    on_progress: OnProgress | None = None,
    command: Sequence[str] = (),
) -> Recording:
    """Runs `scenario` and returns its recording.

    Args:
        scenario: what to do; without a seed one is drawn and recorded.
        out: the recording's folder, new or empty; None: a new one below ``runs``.
        on_progress: is told how the run goes on.
        command: what repeats the run, for its recording; without one it is this program's own.

    Raises:
        RequestError: the scenario is wrong (nothing was made).
        MachineError: this machine cannot do it (nothing was made).
        RunError: it failed or was interrupted; what was recorded is analysed as far as it goes.
    """
    check(scenario)
    return run_checked(scenario, out, on_progress or (lambda _event: None), command=command)


def run_checked(
    scenario: Scenario,
    out: Path | None,
    tell: OnProgress,
    orders_fd: int | None = None,
    command: Sequence[str] = (),
) -> Recording:
    """`run` after its checks.

    Args:
        scenario: what to do.
        out: as in `run`.
        tell: is told how the run goes on.
        orders_fd: a pipe that brings orders meanwhile (`testbed.recording.progress.Order`).
        command: as in `run`.

    Raises:
        TestbedError: as in `run`.
    """
    seed = _seed(scenario)
    warnings = _forecast(scenario)  # it may raise, and then nothing is made
    layout = create(out or claim_folder(scenario.topology, datetime.now(UTC)))
    write_manifest(layout, _first_manifest(scenario, seed, warnings, command))
    for text in warnings:
        tell(Warned(text=text))
    try:
        with _ends_as_by_ctrl_c():
            failure = _live(layout, scenario, seed, tell, orders_fd)
    except KeyboardInterrupt:  # pressed twice, or outside of what `_follow` waits for
        failure = _STOPPED
    finally:
        finish_partials(layout)
    failure = _settle(layout, failure)
    if failure is not None and failure.exit_code in (EXIT_WRONG_REQUEST, EXIT_MACHINE_CANNOT):
        shutil.rmtree(layout.root)
        raise _error(failure)
    tell(Phase(text="analysing"))
    try:
        recording = Recording(layout.root, finish(layout.root))
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"stopped while analysing; what was recorded is in {layout.root}: "
            f"testbed analyse {layout.root}",
            where="Ctrl-C",
        ) from error
    if failure is not None:
        raise _error(failure, layout.root)
    return recording


def finish(root: Path) -> Summary:
    """Analyses the recording at `root` and writes its summary and its report."""
    # Not at the top: polars takes longer to import than everything else together.
    from testbed.analysis.analyse import analyse
    from testbed.report.html import write_report

    summary = analyse(root)
    write_report(root)
    return summary


def check(scenario: Scenario) -> None:
    """Finds what can be known to be wrong before anything is made.

    Raises:
        ScenarioError: the topology, an option or a link.
        RequestError: the application.
        ToolMissingError: programs that are not installed, and the line that installs them.
    """
    check_tools()
    if scenario.link_backend != "kernel" and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise MachineError(
            "the relay backend needs /dev/net/tun, which is not there or may not be opened; "
            f"get it with: {TUN_REMEDY}",
            where="--link-backend",
        )
    from testbed.analysis.foreseen import check_expectations
    from testbed.network.open_vswitch import check_programs
    from testbed.network.plan import make_plan
    from testbed.network.topology import load_topology
    from testbed.probes.http_library import check_client
    from testbed.server.application import check_application
    from testbed.server.environment import packages_of

    check_client(scenario.load.client)
    topo = load_topology(scenario.topology, scenario.topology_options)
    plan = make_plan(topo, scenario, "kernel" if scenario.link_backend == "kernel" else "relay")
    check_expectations(scenario.expect, [link.name for link in plan.links])
    if plan.spreads_packets:
        check_spread_tools()
    if plan.switches == "ovs":
        check_programs()
    check_application(scenario.app, Path.cwd(), packages_of(scenario.app_environment))


def shell(scenario: Scenario) -> int:
    """Builds the network of `scenario` and gives the terminal to Mininet's command line.

    Returns:
        The exit code of the process inside the sandbox.

    Raises:
        RequestError, MachineError: as `run`.
    """
    check(scenario)
    seed = _seed(scenario)
    with _ends_as_by_ctrl_c(), tempfile.TemporaryDirectory(prefix="testbed-shell-") as folder:
        layout = create(Path(folder) / "shell")
        with machine.cpu_kept_free() as cpu:
            argv = _live_argv(layout, scenario, seed, cpu=cpu, progress_fd=None)
            with Sandbox(argv, own_session=False) as sandbox:
                # The terminal's Ctrl-C belongs to the command line inside. Ignored only now: what
                # is ignored is ignored by every process that is started, too.
                before = signal.signal(signal.SIGINT, signal.SIG_IGN)
                try:
                    return sandbox.wait()
                finally:
                    signal.signal(signal.SIGINT, before)


def _seed(scenario: Scenario) -> int:
    """The seed that was asked for, or one that nobody chose; short enough to be typed."""
    return int.from_bytes(os.urandom(4), "big") if scenario.seed is None else scenario.seed


def _invoked_as() -> str:
    """How the user calls the testbed: ``./tb`` where he came through it."""
    return os.environ.get("TESTBED_INVOKED_AS") or Path(sys.argv[0]).name


def _forecast(scenario: Scenario) -> list[str]:
    """What this machine was found not to do faithfully, of what is asked for."""
    from testbed.calibration.beyond import warnings_for

    return [*warnings_for(scenario), *stalls(scenario)]


def _first_manifest(
    scenario: Scenario, seed: int, warnings: list[str], command: Sequence[str] = ()
) -> Manifest:
    times = scenario.load.arrivals_file
    return Manifest(
        testbed_version=VERSION,
        versions=machine.versions(),
        kernel=machine.kernel(),
        cpus=os.cpu_count() or 1,
        started_utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
        command=list(command) or [_invoked_as(), *sys.argv[1:]],
        scenario=scenario,
        seed=seed,
        link_backend="relay",
        arrivals=None if times is None else describe_send_times(times),
        warnings=warnings,
    )


def _live_argv(
    layout: Layout,
    scenario: Scenario,
    seed: int,
    *,
    cpu: int | None,
    progress_fd: int | None,
    orders_fd: int | None = None,
    traced: TraceAccess | None = None,
) -> list[str]:
    traced = traced or TraceAccess()
    told = LiveConfig(
        root=str(layout.root.resolve()),
        scenario=scenario,
        seed=seed,
        directory=str(Path.cwd()),
        relay_cpu=cpu,
        progress_fd=progress_fd,
        orders_fd=orders_fd,
        trace_instance=traced.instance,
        trace_missing=traced.reason,
        shell=progress_fd is None,
    )
    return [sys.executable, "-m", "testbed.live", msgspec.json.encode(told).decode()]


def _live(
    layout: Layout, scenario: Scenario, seed: int, tell: OnProgress, orders_fd: int | None
) -> Failure | None:
    """The live part, in a sandbox; returns its failure, if any."""
    read, write = os.pipe2(os.O_CLOEXEC)
    log = layout.log("live.stderr")
    with contextlib.ExitStack() as closing:
        progress = closing.enter_context(os.fdopen(read, "rb"))
        stderr = closing.enter_context(os.fdopen(_new_log(log), "wb"))
        cpu = closing.enter_context(machine.cpu_kept_free())
        traced = _traced(scenario, closing)
        argv = _live_argv(
            layout, scenario, seed,
            cpu=cpu, progress_fd=write, orders_fd=orders_fd, traced=traced,
        )  # fmt: skip
        inherited = [write] if orders_fd is None else [write, orders_fd]
        try:
            sandbox = closing.enter_context(
                Sandbox(argv, pass_fds=inherited, stdout=stderr, stderr=stderr)
            )
        finally:
            os.close(write)
        failure = _follow(sandbox, progress, tell)
        exit_code = sandbox.wait()
    if failure is None and exit_code != 0:
        text = log.read_text(encoding="utf-8", errors="replace").strip()
        message = text.removeprefix("testbed: error: ") or f"it ended with exit code {exit_code}"
        known = exit_code in (EXIT_WRONG_REQUEST, EXIT_MACHINE_CANNOT)
        failure = Failure(exit_code=exit_code if known else 4, message=message, where="live")
    return failure


def _traced(scenario: Scenario, closing: contextlib.ExitStack) -> TraceAccess:
    """An instance in tracefs for as long as `closing` is open, where the probes are to have one."""
    if not scenario.probe_set.tracepoints:
        return TraceAccess(reason=f"switched off (--probes {scenario.probes})")
    return closing.enter_context(instance_kept())


def _new_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _follow(sandbox: Sandbox, progress: IO[bytes], tell: OnProgress) -> Failure | None:
    """Passes progress on until the live part has ended; a Ctrl-C meanwhile is passed in."""
    failure = None
    try:
        for event in _events(progress):
            if isinstance(event, Failure):
                failure = event
            else:
                tell(event)
    except KeyboardInterrupt:
        sandbox.interrupt()
        try:
            sandbox.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            sandbox.close()
        return _STOPPED
    return failure


@contextlib.contextmanager
def _ends_as_by_ctrl_c() -> Iterator[None]:
    """SIGTERM, as CI sends it, and SIGHUP of a terminal that is closed interrupt like Ctrl-C.

    Only the main thread may arrange that, and it does so only where nobody else has.
    """
    mine: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        both = (signal.SIGTERM, signal.SIGHUP)
        mine = [number for number in both if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _events(progress: IO[bytes]) -> Iterator[Line]:
    for line in progress:
        yield decode_progress(line)


def _settle(layout: Layout, failure: Failure | None) -> Failure | None:
    """Makes the manifest say how the run ended when the live part could not say it itself."""
    manifest = read_manifest(layout)
    if manifest.state == "running":
        message = failure.message if failure else "the live part ended without a word"
        failure = failure or Failure(exit_code=4, message=message)
        interrupted = failure.exit_code == _EXIT_STOPPED
        state = "interrupted" if interrupted else "failed"
        write_manifest(layout, msgspec.structs.replace(manifest, state=state, failure=message))
    return failure


def _error(failure: Failure, root: Path | None = None) -> TestbedError:
    kept = f"\nwhat was recorded is in {root}" if root is not None else ""
    kinds: dict[int, type[TestbedError]] = {
        EXIT_WRONG_REQUEST: RequestError,
        EXIT_MACHINE_CANNOT: MachineError,
        _EXIT_STOPPED: Interrupted,
    }
    return kinds.get(failure.exit_code, RunError)(failure.message + kept, where=failure.where)
