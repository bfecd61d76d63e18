"""Damage to a recording, of every kind, and what must hold afterwards."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hypothesis import strategies as st
from typer.testing import CliRunner

from testbed.cli import app
from tests.builders.pcapng import Interface, Packet, pcapng

KINDS: Final = ("cut", "flip", "empty", "remove", "swap", "replace", "folder")
REPLACEMENTS: Final = {
    "random bytes": bytes(range(7, 250)) * 23,
    "a pcap file": b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(40),
    "no Ethernet": pcapng([Interface("lo", link_type=101)], [Packet(10**18, bytes(60))]),
    "text": b"{}\n" * 23,
    "zeros": bytes(4096),
}


@dataclass(frozen=True)
class Damage:
    """What is done to one file."""

    file: str
    kind: str
    share: float
    """Where in it."""
    flips: tuple[tuple[float, int], ...]
    other: str
    """The file it is swapped with."""
    replacement: str


def damages(files: list[str]) -> st.SearchStrategy[Damage]:
    """Any damage to any of these files."""
    return st.builds(
        Damage,
        file=st.sampled_from(files),
        kind=st.sampled_from(KINDS),
        share=st.floats(0, 1),
        flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=8).map(
            tuple
        ),
        other=st.sampled_from(files),
        replacement=st.sampled_from(sorted(REPLACEMENTS)),
    )


def files_of(root: Path, folders: tuple[str, ...]) -> list[str]:
    """What can be damaged."""
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and (path.parent.name in folders or path.name in folders)
    )


def harm(root: Path, damage: Damage) -> None:
    """Does the damage."""
    path, other = root / damage.file, root / damage.other
    content = bytearray(path.read_bytes())
    if damage.kind == "cut":
        path.write_bytes(content[: int(damage.share * len(content))])
    elif damage.kind == "flip" and content:
        for place, bits in damage.flips:
            content[int(place * (len(content) - 1))] ^= bits
        path.write_bytes(content)
    elif damage.kind == "empty":
        path.write_bytes(b"")
    elif damage.kind == "remove":
        path.unlink()
    elif damage.kind == "swap":
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif damage.kind == "replace":
        path.write_bytes(REPLACEMENTS[damage.replacement])
    elif damage.kind == "folder":
        path.unlink()
        path.mkdir()


def check(root: Path, command: str, damage: Damage) -> str | None:
    """A command ends with its results, or with one message that names the file.

    Returns:
        The message; None: it had results.
    """
    done = CliRunner().invoke(app, [command, str(root)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    message = done.stderr.strip()
    if not message.startswith("testbed: error: "):
        return None
    names = {Path(damage.file).name, Path(damage.other).name, str(root)}
    assert any(name in message for name in names), message
    return message


@contextlib.contextmanager
def copied(source: Path, target: Path) -> Iterator[Path]:
    """A copy of a recording, without what no command reads."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("report.html", "logs"))
    try:
        yield target
    finally:
        shutil.rmtree(target, ignore_errors=True)
