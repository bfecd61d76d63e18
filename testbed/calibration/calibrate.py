"""A calibration, from the outside: a sandbox for each backend, then the store."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, get_args

import msgspec

from testbed.calibration import store
from testbed.calibration.config import CalibrationConfig
from testbed.calibration.record import BACKENDS, Backend, BackendName, Calibration
from testbed.doctor import TUN_REMEDY, check_tools
from testbed.errors import Interrupted, MachineError, Problem, RunError, ScenarioError
from testbed.live import machine
from testbed.recording.progress import Failure, OnProgress, decode_progress
from testbed.sandbox.launcher import Sandbox
from testbed.scenario.model import LinkBackend
from testbed.version import VERSION

_STOP_S: Final = 2.0
_NOT_ASKED: Final = "not asked for"
NO_TUN: Final = f"/dev/net/tun is not there or may not be opened; get it with: {TUN_REMEDY}"


def calibrate(
    link_backend: LinkBackend = "auto",
    *,
    quick: bool = False,
    on_progress: OnProgress | None = None,
) -> Calibration:
    """Measures how faithful links are on this machine, and stores it.

    Args:
        link_backend: what to measure; auto: both backends, as far as they are there.
        quick: less of everything.
        on_progress: is told how it goes on.

    Raises:
        MachineError: neither can be measured here, or not the one that was asked for; or there is
            nowhere to store it.
        RunError: a measurement failed, or was interrupted; nothing is stored.
    """
    tell = on_progress or (lambda _event: None)
    check_tools()
    target = store.writable_path()
    began = datetime.now(UTC).isoformat(timespec="seconds")
    with _sigterm_as_ctrl_c():
        found = [_backend(name, link_backend, quick, tell) for name in BACKENDS]
    if not any(backend.measured for backend in found):
        asked = [b for b in found if b.reason != _NOT_ASKED]
        reasons = "; ".join(f"{backend.name}: {backend.reason}" for backend in asked)
        raise MachineError(f"no links can be measured here: {reasons}", where="--link-backend")
    calibration = Calibration(
        testbed_version=VERSION,
        measured_utc=began,
        quick=quick,
        machine=store.this_machine(),
        backends=found,
    )
    store.write(calibration, target)
    return calibration


def read_backend(text: str | None) -> LinkBackend:
    """What was typed after ``--link-backend``.

    Raises:
        ScenarioError: none of the words that it may be.
    """
    for known in get_args(LinkBackend):
        if text in (None, known):
            return "auto" if text is None else known
    words = ", ".join(f'"{word}"' for word in get_args(LinkBackend))
    message = f'expected one of {words} (got "{text}")'
    raise ScenarioError([Problem("--link-backend", message)])


def _backend(name: BackendName, asked: LinkBackend, quick: bool, tell: OnProgress) -> Backend:
    """What was measured of a backend, or why not."""
    if asked not in ("auto", name):
        return Backend(name=name, measured=False, reason=_NOT_ASKED)
    if name == "relay" and not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return Backend(name=name, measured=False, reason=NO_TUN)
    with tempfile.TemporaryDirectory(prefix="testbed-calibrate-") as folder:
        return _measure(name, Path(folder), quick, tell)


def _measure(name: BackendName, folder: Path, quick: bool, tell: OnProgress) -> Backend:
    """Runs the process in a sandbox of its own.

    Raises:
        TestbedError: it failed or was interrupted.
    """
    result, log = folder / "result.json", folder / "stderr.log"
    read, write = os.pipe2(os.O_CLOEXEC)
    with contextlib.ExitStack() as closing:
        progress = closing.enter_context(os.fdopen(read, "rb"))
        stderr = closing.enter_context(log.open("wb"))
        told = CalibrationConfig(
            backend=name,
            quick=quick,
            root=str(folder),
            result=str(result),
            relay_cpu=closing.enter_context(machine.cpu_kept_free()),
            progress_fd=write,
        )
        argv = [sys.executable, "-m", "testbed.calibration", msgspec.json.encode(told).decode()]
        try:
            sandbox = closing.enter_context(
                Sandbox(argv, pass_fds=[write], stdout=stderr, stderr=stderr)
            )
        finally:
            os.close(write)
        failure = _follow(sandbox, progress, tell)
        exit_code = sandbox.wait()
    if failure is None and exit_code == 0:
        return msgspec.json.decode(result.read_bytes(), type=Backend)
    if failure is None:
        text = log.read_text(encoding="utf-8", errors="replace").strip()
        message = text.removeprefix("testbed: error: ") or f"it ended with exit code {exit_code}"
        failure = Failure(exit_code=exit_code, message=message)
    kind = MachineError if failure.exit_code == MachineError.exit_code else RunError
    raise kind(failure.message, where=failure.where)


def _follow(sandbox: Sandbox, progress: IO[bytes], tell: OnProgress) -> Failure | None:
    """Passes progress on until the process has ended; returns its failure, if any.

    Raises:
        Interrupted: Ctrl-C or SIGTERM came meanwhile.
    """
    failure = None
    try:
        for line in progress:
            event = decode_progress(line)
            if isinstance(event, Failure):
                failure = event
            else:
                tell(event)
    except KeyboardInterrupt as error:
        sandbox.interrupt()
        with contextlib.suppress(subprocess.TimeoutExpired):
            sandbox.wait(_STOP_S)
        sandbox.close()
        raise Interrupted("stopped by the user; nothing was stored") from error
    return failure


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM, as CI sends it, interrupts like Ctrl-C, so that no temporary folder is left."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
