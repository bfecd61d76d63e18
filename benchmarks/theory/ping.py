"""What ping (iputils) says, line by line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from testbed.errors import ToolError

_REPLY: Final = re.compile(r"bytes from .*: icmp_seq=(\d+) ttl=\d+ time=([\d.]+) ms( \(DUP!\))?$")
_SUMMARY: Final = re.compile(r"^(\d+) packets transmitted, (\d+) received", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Pings:
    """The round trips of one ping."""

    sent: int
    rtts_ms: tuple[float, ...]
    """Of the replies, in the order they came; the others were lost or came after the end."""


def parse(text: str) -> Pings:
    """The round trips in ping's output.

    Raises:
        ToolError: there is no summary, its count is not that of the reply lines, or a reply came
            twice.
    """
    replies = [match for line in text.splitlines() if (match := _REPLY.search(line))]
    summary = _SUMMARY.search(text)
    if summary is None:
        raise _error(f"no summary at the end of its output: {text[-200:]!r}")
    sent, received = map(int, summary.groups())
    numbers = {int(match[1]) for match in replies}
    if len(replies) != received or len(numbers) != received:
        raise _error(
            f"{received} replies by its summary, {len(replies)} lines of replies with "
            f"{len(numbers)} different numbers"
        )
    return Pings(sent=sent, rtts_ms=tuple(float(match[2]) for match in replies))


def _error(message: str) -> ToolError:
    return ToolError(["ping"], 0, message)
