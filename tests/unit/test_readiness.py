"""Waiting for a server: it is ready, it died, or it takes too long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.errors import ProcessError, RequestError
from testbed.server.readiness import last_lines, wait_until_ready


class Clock:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 0

    def now(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


class Running:
    """A process that runs."""

    def poll(self) -> int | None:
        return None


def refuse() -> None:
    raise ConnectionRefusedError(111, "Connection refused")


def test_tries_until_it_succeeds(tmp_path: Path) -> None:
    results = [ConnectionRefusedError(), TimeoutError(), None]
    clock = Clock()

    def connect() -> None:
        if error := results.pop(0):
            raise error

    attempts = wait_until_ready(
        Running(),
        connect,
        name="server",
        log=tmp_path / "log",
        timeout_ns=10**9,
        now=clock.now,
        sleep=clock.sleep,
    )
    assert attempts == 3
    assert clock.now_ns == 2 * 10_000_000


def test_gives_up_at_the_deadline_with_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("starting\nstill starting\n")
    clock = Clock()
    with pytest.raises(ProcessError) as caught:
        wait_until_ready(
            Running(),
            refuse,
            name="server",
            log=log,
            timeout_ns=2 * 10**9,
            now=clock.now,
            sleep=clock.sleep,
        )
    assert str(caught.value) == (
        "server was not ready within 2 s (201 attempts to connect, the last one: "
        "[Errno 111] Connection refused)\n"
        "--- last lines of server ---\nstarting\nstill starting"
    )
    assert clock.now_ns == 2 * 10**9


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("sys.exit(4)", ProcessError, "server ended before it was ready (exit code 4)\n--- last"),
        ("os.kill(os.getpid(), 9)", ProcessError, "server ended before it was ready (signal 9)"),
        ("sys.exit(2)", RequestError, "line one\nline two"),
    ],
    ids=["exit code", "signal", "refused"],
)
def test_process_that_ended(tmp_path: Path, code: str, kind: type[Exception], message: str) -> None:
    log = tmp_path / "log"
    program = f"import os, sys; print('line one\\nline two', file=sys.stderr, flush=True); {code}"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", program], stderr=file)
    process.wait()
    with pytest.raises(kind) as caught:
        wait_until_ready(process, refuse, name="server", log=log, timeout_ns=10**9)
    assert str(caught.value).startswith(message)
    assert "line two" in str(caught.value)


def test_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == ""
    log.write_bytes(b"\xff" + b"x" * 20_000 + b"\n" + b"".join(b"%d\n" % n for n in range(100)))
    assert last_lines(log).splitlines() == [str(number) for number in range(70, 100)]
