"""Rule: a process is asked to end by its lifeline, then told (SIGTERM), then ended (SIGKILL); none
outlives `Processes`, and what it last said is in the error about its death.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import EXIT_RUN_FAILED, ProcessError
from testbed.live import processes as module
from testbed.live.processes import ManagedProcess, Processes
from testbed.recording.layout import Layout, create

PATIENCE_S = 20.0
"""For a shell to say its first word on a busy machine; it takes milliseconds."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return create(tmp_path / "recording")


@pytest.fixture
def processes(layout: Layout) -> Iterator[Processes]:
    with Processes(layout) as made:
        yield made


def start(
    processes: Processes, script: str, *, lifeline: bool = True, answers: bool = True
) -> ManagedProcess:
    """Starts a shell script that says "ready" once it is; returns then."""
    process = processes.start(
        "server", "server", ["sh", "-c", script], lifeline=lifeline, answers=answers
    )
    if answers:
        assert process.read_line(PATIENCE_S) == b"ready\n"
    return process


def wait_for_end(process: ManagedProcess) -> None:
    ready, _, _ = select.select([process.pidfd], [], [], PATIENCE_S)
    assert ready == [process.pidfd]


def test_closing_the_lifeline_is_enough_for_who_watches_it(processes: Processes) -> None:
    process = start(processes, "echo ready; read line; exit 5")
    assert process.exit_code is None
    assert process.end() == 5


def test_what_the_parent_writes_reaches_it_before_the_end(processes: Processes) -> None:
    process = start(processes, 'echo ready; read word; echo "$word"; cat')
    assert process.popen.stdin is not None
    process.popen.stdin.write(b"go\n")
    process.popen.stdin.flush()
    assert process.read_line(PATIENCE_S) == b"go\n"
    assert process.end() == 0


def test_who_does_not_watch_the_lifeline_is_sent_sigterm(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENT_S", (0.05, PATIENCE_S))
    process = start(processes, "trap 'exit 6' TERM; echo ready; while :; do sleep 0.01; done")
    assert process.end() == 6


def test_who_ignores_sigterm_is_killed(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENT_S", (0.05, 0.05))
    process = start(processes, "trap '' TERM; echo ready; while :; do sleep 0.01; done")
    assert process.end() == -signal.SIGKILL


def test_who_has_no_lifeline_is_sent_sigterm_at_once(processes: Processes) -> None:
    # Not patched: were the lifeline waited for, this would take 2 s and end all the same; that
    # SIGTERM comes first is what the exit code shows.
    script = "trap 'exit 6' TERM; echo ready; while :; do sleep 0.01; done"
    process = start(processes, script, lifeline=False)
    assert process.end() == 6


def test_those_without_a_lifeline_are_all_told_before_any_is_waited_for(
    processes: Processes, tmp_path: Path
) -> None:
    # Each ends only when the other one was told, too: told one after the other, the first one would
    # wait in vain and be killed.
    started = []
    for own, other in (("a", "b"), ("b", "a")):
        script = (
            f"trap 'touch {tmp_path}/{own}; while [ ! -e {tmp_path}/{other} ]; do sleep 0.01; "
            "done; exit 7' TERM; echo ready; while :; do sleep 0.01; done"
        )
        started.append(start(processes, script, lifeline=False))
        started[-1].more_patience_s = PATIENCE_S
    assert processes.end("server") == started
    assert [process.exit_code for process in started] == [7, 7]


def test_a_process_that_has_ended_keeps_its_exit_code(processes: Processes) -> None:
    process = start(processes, "echo ready; exit 3")
    wait_for_end(process)
    assert (process.end(), process.exit_code) == (3, 3)


def test_a_death_is_told_with_the_last_lines_and_the_exit_code(processes: Processes) -> None:
    script = "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo line $i >&2; done; echo ready; exit 3"
    process = start(processes, script)
    wait_for_end(process)
    error = process.died("during the load")
    assert isinstance(error, ProcessError)
    assert error.exit_code == EXIT_RUN_FAILED
    assert error.where == "server"
    assert error.last_lines.splitlines() == [f"line {n}" for n in range(11, 31)]
    assert str(error).startswith(
        "server ended during the load (exit code 3)\n--- last lines of server ---\nline 11\n"
    )


def test_a_death_by_a_signal_names_it(processes: Processes) -> None:
    process = start(processes, "echo ready; kill -SEGV $$")
    assert str(process.died("early")) == "server ended early (signal SIGSEGV)"


def test_end_names_who_did_not_end_well(processes: Processes) -> None:
    start(processes, "echo ready; read line; exit 0")
    assert processes.end("server") == []
    stubborn = start(processes, "trap '' TERM; echo ready; while :; do read line; done")
    assert processes.end("server", hurry=True) == [stubborn]
    assert stubborn.how_it_ended() == "signal SIGKILL"


def test_silence_is_an_error_after_its_time(processes: Processes) -> None:
    process = processes.start("relay", "relay", ["cat"], answers=True)
    with pytest.raises(ProcessError, match=r"relay said nothing within 0\.05 s"):
        process.read_line(0.05)


def test_an_end_before_the_awaited_line_is_an_error(processes: Processes) -> None:
    process = processes.start(
        "relay", "relay", ["sh", "-c", "echo no devices >&2; exit 4"], answers=True
    )
    with pytest.raises(ProcessError, match=r"relay ended early \(exit code 4\)\n.*\nno devices"):
        process.read_line(PATIENCE_S)


def test_a_kind_ends_together(processes: Processes) -> None:
    clients = [
        processes.start(f"client{n}", "load", ["sh", "-c", f"read line; exit {n}"])
        for n in (1, 2, 3)
    ]
    server = start(processes, "echo ready; read line")
    processes.end("load")
    assert [client.exit_code for client in clients] == [1, 2, 3]
    assert server.exit_code is None
    assert processes.of_kind("load") == clients


def test_records_say_how_each_ended(processes: Processes) -> None:
    process = start(processes, "echo ready; read line; exit 2")
    process.about["scheduler"] = "fifo"
    process.end()
    (record,) = processes.records()
    assert (record.name, record.kind, record.node) == ("server", "server", "")
    assert (record.exit_code, record.about) == (2, {"scheduler": "fifo"})


def test_none_outlives_the_block_not_even_when_it_fails(layout: Layout) -> None:
    started: list[ManagedProcess] = []

    def fail() -> None:
        with Processes(layout) as processes:
            started.append(start(processes, "echo ready; read line; exit 9"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [process.exit_code for process in started] == [9]


def test_each_has_a_session_of_its_own(processes: Processes) -> None:
    process = start(processes, "echo ready; read line")
    assert os.getsid(process.popen.pid) == process.popen.pid


def test_output_is_kept_for_its_owner_only(processes: Processes, layout: Layout) -> None:
    process = start(processes, "echo out; echo err >&2", answers=False)
    wait_for_end(process)
    kept = {path.name: path for path in (layout.root / "logs").iterdir()}
    assert sorted(kept) == ["server.stderr.log", "server.stdout.log"]
    assert [kept[name].read_text() for name in sorted(kept)] == ["err\n", "out\n"]
    assert {path.stat().st_mode & 0o777 for path in kept.values()} == {0o600}


def test_descriptors_are_handed_over(processes: Processes) -> None:
    read, write = os.pipe()
    process = processes.start(
        "server", "server", ["sh", "-c", f"echo through >/proc/self/fd/{write}"], pass_fds=[write]
    )
    wait_for_end(process)
    with os.fdopen(read, "rb") as pipe:
        # It ends: our own end was closed when it was handed over.
        assert pipe.read() == b"through\n"
