"""Rule: whatever goes wrong, the error says what, with the last lines of who failed and the right
exit code; what was recorded stays readable; and no process is left.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import run
from testbed.errors import (
    EXIT_RUN_FAILED,
    EXIT_WRONG_REQUEST,
    Interrupted,
    RequestError,
    RunError,
    ScenarioError,
)
from testbed.recording.layout import Layout
from testbed.recording.progress import LoadProgress, Phase, Progress
from testbed.recording.segments import Segment
from tests.support.pcapng import read_pcapng
from tests.support.people import environment
from tests.support.process_table import (
    MARK,
    marked,
    marked_by_command,
    the_one,
    wait_for_end,
    watched,
)
from tests.support.relay_log import read_relay_log
from tests.support.runs import manifest_of, run_argv, scenario, unfinished
from tests.support.waiting import eventually

STOP_S = 2.0 + 3.0
"""Ctrl-C ends within 2 s; 3 s more because the two CPUs are shared with others."""
START_S = 60.0
"""For a run to reach its load; it takes 1.5 s on an idle machine."""
MANY = 1_000_000
"""Requests that no test waits for."""


@pytest.fixture(autouse=True)
def own_mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Marks this test's processes; none of them is left when `run` has returned."""
    name = uuid.uuid4().hex
    monkeypatch.setenv(MARK, name)
    yield name
    left = marked(name)
    with watched(left) as alive:
        assert alive == {}, "processes are left"


@pytest.fixture(autouse=True)
def as_in_a_terminal() -> Iterator[None]:
    """Ctrl-C interrupts, although what a shell starts in the background ignores it (bash(1))."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: where the user's application lies."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_app(folder: Path, text: str) -> str:
    """A module of the user's with an application; returns its name, different in every test."""
    name = f"service_{uuid.uuid4().hex[:8]}"
    (folder / f"{name}.py").write_text(text)
    return name


HELLO = """\
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""
CRASH = f"""\
import os, sys
count = 0
{
    HELLO.replace(
        "async def app(scope, receive, send):",
        '''
async def app(scope, receive, send):
    global count
    count += 1
    if count == 12:
        print("the disk is on fire", file=sys.stderr, flush=True)
        os._exit(3)
''',
    )
}"""


def at_load(act: Callable[[], None], completed: int = 8) -> Callable[[Progress], None]:
    """A listener that acts once, when so many requests are done."""
    done: list[bool] = []

    def listen(event: Progress) -> None:
        if isinstance(event, LoadProgress) and event.completed >= completed and not done:
            done.append(True)
            act()

    return listen


def killer(mark: str, words: str) -> Callable[[], None]:
    """What ends the one process with `words` in its command line."""

    def kill() -> None:
        os.kill(the_one(mark, words), signal.SIGKILL)

    return kill


def assert_readable(root: Path, state: str, *, died: str = "none") -> None:
    """The recording can be read, all of it, and says how the run ended.

    A process that died may have taken its last second with it, which here is all it had.
    """
    manifest = manifest_of(root)
    assert manifest.state == state
    assert manifest.failure
    assert unfinished(root) == []
    for path in Layout(root).segments():
        segment = Segment(path)
        if segment.header.layout == "frames":
            assert list(segment.frames()) or f".{died}." in path.name, path.name
        else:
            segment.records()
        assert segment.cut_bytes == 0, path.name
    for path in Layout(root).captures():
        assert read_pcapng(path).frames, path.name
    # The analysis could make numbers of it.
    summary = json.loads((root / "summary.json").read_text(encoding="utf-8"))
    assert summary["http"]["completed"] > 0
    assert (root / "report.html").stat().st_size > 0


def test_an_application_that_cannot_be_imported(folder: Path) -> None:
    name = write_app(folder, "VALUE = 1\nraise OSError('no database at db.example:5432')\n")
    with pytest.raises(RunError) as caught:
        run(scenario(app=f"{name}:app"), folder / "out")
    assert caught.value.exit_code == EXIT_RUN_FAILED
    message = str(caught.value)
    assert "OSError: no database at db.example:5432" in message
    assert f"{name}.py" in message
    manifest = manifest_of(folder / "out")
    assert manifest.state == "failed"
    assert "no database at db.example:5432" in manifest.failure


def test_an_attribute_that_is_not_there_is_a_wrong_request_and_leaves_no_folder(
    folder: Path,
) -> None:
    name = write_app(folder, HELLO)
    with pytest.raises(RequestError) as caught:
        run(scenario(app=f"{name}:ap"), folder / "out")
    assert caught.value.exit_code == EXIT_WRONG_REQUEST
    assert f'the module "{name}" has no attribute "ap"; did you mean "app"?' in str(caught.value)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        pytest.param({"app": "no_such_module_anywhere:app"}, RequestError, id="module"),
        pytest.param({"app": "helo"}, RequestError, id="application"),
        pytest.param({"topology": "no_such"}, ScenarioError, id="topology"),
    ],
)
def test_what_can_be_known_before_is_said_before_anything_is_made(
    folder: Path, fields: dict[str, Any], kind: type[Exception], own_mark: str
) -> None:
    with pytest.raises(kind):
        run(scenario(**fields), folder / "out")
    assert list(folder.iterdir()) == []


def test_an_application_that_crashes_during_the_load(folder: Path) -> None:
    name = write_app(folder, CRASH)
    with pytest.raises(RunError) as caught:
        run(scenario(app=f"{name}:app", requests=MANY), folder / "out")
    assert caught.value.exit_code == EXIT_RUN_FAILED
    assert "server ended during the load (exit code 3)" in str(caught.value)
    assert "the disk is on fire" in str(caught.value)
    assert str(folder / "out") in str(caught.value)
    assert_readable(folder / "out", "failed", died="server")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param("testbed.load", "client ended during the load (signal SIGKILL)", id="client"),
        pytest.param(
            "testbed.server", "server ended during the load (signal SIGKILL)", id="server"
        ),
        pytest.param("testbed.network.relay", "relay ended during the load", id="relay"),
        pytest.param("testbed.probes", "sampler ended during the load", id="sampler"),
    ],
)
def test_a_process_that_is_killed(tmp_path: Path, own_mark: str, words: str, message: str) -> None:
    with pytest.raises(RunError) as caught:
        run(scenario(MANY), tmp_path / "out", at_load(killer(own_mark, f"-m {words} ")))
    assert caught.value.exit_code == EXIT_RUN_FAILED
    assert message in str(caught.value)
    manifest = manifest_of(tmp_path / "out")
    assert manifest.state == "failed"
    assert message in manifest.failure
    assert unfinished(tmp_path / "out") == []
    for path in Layout(tmp_path / "out").segments():
        Segment(path)


def test_the_live_part_killed_as_a_whole(tmp_path: Path, own_mark: str) -> None:
    def kill() -> None:
        (process, *_) = marked_by_command(own_mark, "-m testbed.live ")[-1:]
        os.kill(process, signal.SIGKILL)

    with pytest.raises(RunError) as caught:
        run(scenario(MANY), tmp_path / "out", at_load(kill))
    assert caught.value.exit_code == EXIT_RUN_FAILED
    assert manifest_of(tmp_path / "out").state == "failed"
    assert unfinished(tmp_path / "out") == []


def test_ctrl_c_while_the_load_runs(tmp_path: Path) -> None:
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        run(scenario(MANY), tmp_path / "out", at_load(press, 30))
    # The analysis of what there is comes after the stop and counts here too.
    assert time.monotonic() - pressed[0] < STOP_S
    assert_readable(tmp_path / "out", "interrupted")
    log = read_relay_log(Layout(tmp_path / "out").segment("link.r1-server"), "forward")
    assert len(log) > 30


BLOCKED = """\
import time

async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        time.sleep(600)
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
"""


def test_ctrl_c_does_not_wait_for_an_application_that_blocks_its_loop(folder: Path) -> None:
    # It hears neither the end of its lifeline nor SIGTERM: only SIGKILL is left.
    name = write_app(folder, BLOCKED)
    pressed: list[float] = []

    def press(event: Progress) -> None:
        if isinstance(event, LoadProgress) and event.started and not pressed:
            pressed.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        run(scenario(app=f"{name}:app"), folder / "out", press)
    assert time.monotonic() - pressed[0] < STOP_S
    # The application never got to record anything; the relay did.
    assert manifest_of(folder / "out").state == "interrupted"
    assert len(read_relay_log(Layout(folder / "out").segment("link.r1-server"), "forward")) > 0


def test_an_interruption_ends_a_pytest_session_too() -> None:
    # pytest lets a KeyboardInterrupt through and makes every other exception one test's failure.
    assert issubclass(Interrupted, KeyboardInterrupt)


@pytest.mark.parametrize("text", ["building the network", "starting the server"])
def test_ctrl_c_before_the_load(tmp_path: Path, text: str) -> None:
    def press(event: Progress) -> None:
        if isinstance(event, Phase) and event.text.startswith(text):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        run(scenario(), tmp_path / "out", press)
    assert manifest_of(tmp_path / "out").state == "interrupted"


def started(argv: list[str], folder: Path) -> subprocess.Popen[str]:
    """The command line tool, once its load runs."""
    process = subprocess.Popen(
        argv, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    segment = folder / "out" / "segments" / "link.r1-server.seg.partial"
    eventually(
        # Some seconds of packets: the relay writes its log every 256 KiB, the clients each second.
        lambda: (
            process.poll() is not None
            or (manifest_of(folder / "out").load_started_ns if segment.exists() else None)
        ),
        within_s=START_S,
        what="the load has started",
    )
    return process


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, EXIT_RUN_FAILED, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, EXIT_RUN_FAILED, id="SIGTERM"),
    ],
)
def test_the_command_stopped_by_a_signal(
    tmp_path: Path, own_mark: str, number: signal.Signals, code: int
) -> None:
    process = started(run_argv(tmp_path / "out", MANY), tmp_path)
    at = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=START_S)
    assert time.monotonic() - at < STOP_S
    assert process.returncode == code, errors
    assert "stopped" in errors
    assert str(tmp_path / "out") in errors
    assert manifest_of(tmp_path / "out").state == "interrupted"


def test_the_command_killed_leaves_nothing_running(tmp_path: Path, own_mark: str) -> None:
    process = started(run_argv(tmp_path / "out", MANY), tmp_path)
    with watched(marked(own_mark)) as alive:
        assert len(alive) > 8
        process.kill()
        process.communicate()
        wait_for_end(alive)
    # Nobody could rename its files; what is in them can be read all the same.
    assert manifest_of(tmp_path / "out").state == "running"
    assert unfinished(tmp_path / "out")
