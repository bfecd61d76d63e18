"""The terminal that commands print on, and commands that can be copied from it.

Rules:

- No line ends in blanks: tables pad their cells, and what is behind the last one is noise in a pipe
  and breaks a command that goes on behind a backslash.
- A command that is longer than its column goes on behind a backslash, and is split only between
  words: a shell takes its lines as they are.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    Group,
    RenderHook,
    RenderResult,
)
from rich.segment import Segment

from testbed.report.format import clean


def make_console() -> Console:
    """A console on standard output."""
    console = Console()
    console.push_render_hook(_Trimming())
    return console


def command_text(words: Sequence[str], width: int) -> str:
    """The command in lines of at most `width` columns; a word that is longer has one of its own."""
    lines = [""]
    for word in map(clean, map(shlex.quote, words)):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and len(longer) > width - len(" \\"):
            lines.append(word)
        else:
            lines[-1] = longer
    return " \\\n".join(lines)


class _Trimming(RenderHook):
    """Takes the blanks at the ends of lines from all that is printed."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Trimmed(Group(*renderables))]


class _Trimmed:
    """Something that can be printed, without blanks at the ends of its lines."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in Segment.split_lines(console.render(self._inner, options)):
            while line and not line[-1].control:
                text, style, _ = line.pop()
                if kept := text.rstrip(" "):
                    line.append(Segment(kept, style))
                    break
            yield from line
            yield Segment.line()
