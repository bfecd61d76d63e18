"""Progress goes to a pipe that nobody may be reading; the load never waits for it."""

from __future__ import annotations

import fcntl
import os
from typing import Any

import msgspec
import trio
import trio.testing

from testbed.load.progress import Progress

PIPE_BYTES = 4096


def report_for_an_hour(progress: Progress) -> None:
    """Reports as long as that on a clock of its own; 36 000 lines."""

    async def main() -> None:
        with trio.move_on_after(3600):
            await progress.keep_reporting()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def lines(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\n")
    return [msgspec.json.decode(line) for line in data.splitlines()]


def test_full_pipe_leaves_lines_out_and_cuts_none() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    progress = Progress(writer, limit=None)
    progress.ready()
    report_for_an_hour(progress)
    data = os.read(reader, PIPE_BYTES)
    assert len(data) <= PIPE_BYTES
    progress.started = progress.completed = 23

    async def end() -> None:
        await progress.end("done")

    trio.run(end)
    os.close(writer)
    while more := os.read(reader, PIPE_BYTES):
        data += more
    os.close(reader)
    found = lines(data)
    assert found[0] == {"ready": True}
    assert found[-1]["ended"] == "done"
    assert found[-1]["completed"] == 23
    assert 10 < len(found) < 100


def test_reader_that_left_is_no_error() -> None:
    reader, writer = os.pipe()
    progress = Progress(writer, limit=23)
    os.close(reader)
    progress.ready()

    async def end() -> None:
        await progress.end("stopped")

    trio.run(end)
    os.close(writer)


def test_last_line_is_not_waited_for_longer_than_a_second() -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    progress = Progress(writer, limit=None)
    report_for_an_hour(progress)

    async def end() -> float:
        began = trio.current_time()
        await progress.end("done")
        return trio.current_time() - began

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(end, clock=clock) == 1.0
    os.close(writer)
    os.close(reader)
