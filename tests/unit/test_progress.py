"""What is shown while a run goes on: a bar in a terminal, plain and few lines elsewhere."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from testbed.recording.progress import (
    Failure,
    Line,
    LoadProgress,
    Phase,
    Warned,
    decode_progress,
    encode_progress,
)
from testbed.report.progress import RunProgress, fraction_done, load_text

S = 1_000_000_000


def load(
    done: int = 0,
    *,
    failed: int = 0,
    limit: int | None = 200,
    elapsed_ns: int = S,
    duration_ns: int | None = None,
) -> LoadProgress:
    return LoadProgress(
        started=done + 4,
        completed=done - failed,
        failed=failed,
        limit=limit,
        elapsed_ns=elapsed_ns,
        duration_ns=duration_ns,
    )


@pytest.mark.parametrize(
    "event",
    [
        Phase(text="building\nit"),
        load(3),
        Warned(text="too fast"),
        Failure(exit_code=4, message="died"),
    ],
    ids=repr,
)
def test_an_event_crosses_a_pipe_as_one_line(event: Line) -> None:
    line = encode_progress(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode_progress(line) == event


def test_a_line_that_is_no_event() -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_progress(b'{"type":"other"}\n')


@pytest.mark.parametrize(
    ("event", "share"),
    [
        (load(0), 0.0),
        (load(50), 0.25),
        (load(200), 1.0),
        (load(50, limit=None, duration_ns=4 * S), 0.25),
        (load(50, elapsed_ns=3 * S, duration_ns=4 * S), 0.75),
        (load(50, elapsed_ns=9 * S, duration_ns=4 * S), 1.0),
        (load(50, limit=None), 0.0),
    ],
)
def test_how_much_is_done(event: LoadProgress, share: float) -> None:
    assert fraction_done(event) == share


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (load(120), "120/200 requests, 1.0 s"),
        (load(120, failed=3), "120/200 requests, 3 failed, 1.0 s"),
        (load(5, limit=None, duration_ns=30 * S), "5 requests, 1.0 s of 30 s"),
    ],
)
def test_the_load_in_words(event: LoadProgress, text: str) -> None:
    assert load_text(event) == text


def shown(
    events: list[Phase | LoadProgress | Warned], *, terminal: bool, kind: str = "xterm-256color"
) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, _environ={"TERM": kind})
    with RunProgress(console) as progress:
        for event in events:
            progress.tell(event)
    return out.getvalue()


def test_a_pipe_gets_plain_lines_and_few_of_them() -> None:
    events: list[Phase | LoadProgress | Warned] = [
        Phase(text="[b]building[/b]"),
        Phase(text="load"),
    ]
    events += map(load, range(201))
    lines = shown(events, terminal=False).splitlines()
    assert lines[:2] == ["testbed: [b]building[/b]", "testbed: load"]
    assert len(lines) == 2 + 11
    assert lines[2] == "testbed: load: 0/200 requests, 1.0 s"
    assert lines[-1] == "testbed: load: 200/200 requests, 1.0 s"
    assert all(line.isprintable() for line in lines)


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    text = shown([Phase(text="building"), load(50), load(120)], terminal=True)
    assert "120/200 requests" in text
    assert text.endswith(("\x1b[2K", "\x1b[?25h", "\x1b[2K\n"))


def test_a_terminal_that_cannot_move_its_cursor_gets_lines() -> None:
    text = shown([Phase(text="building"), load(120)], terminal=True, kind="dumb")
    assert text == "testbed: building\ntestbed: load: 120/200 requests, 1.0 s\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_warning_stays(terminal: bool) -> None:
    text = shown([Warned(text="[b]too\x1b fast[/b]"), Phase(text="load")], terminal=terminal)
    assert "testbed: warning: [b]too\ufffd fast[/b]" in text


def test_a_load_without_a_phase_is_shown_all_the_same() -> None:
    assert "120/200" in shown([load(120)], terminal=True)
    assert "120/200" in shown([load(120)], terminal=False)
