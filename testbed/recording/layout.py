"""Names within a recording's folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import RecordingError

PARTIAL = ".partial"
"""Suffix of a file that is still being written; renamed away when its writer has ended."""
_FOLDERS = ("segments", "packets", "events", "links", "logs")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one recording."""

    root: Path

    @property
    def manifest(self) -> Path:
        """What was asked for and built."""
        return self.root / "manifest.json"

    @property
    def summary(self) -> Path:
        """The numbers and the verdict."""
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.root / "report.html"

    @property
    def commands(self) -> Path:
        """The commands that built the network."""
        return self.root / "commands.sh"

    def segment(self, name: str) -> Path:
        """The finished segment `name`, such as ``http.client``."""
        return self.root / "segments" / f"{name}.seg"

    def capture(self, node: str) -> Path:
        """The finished capture of `node`."""
        return self.root / "packets" / f"{node}.pcapng"

    def events(self, table: str) -> Path:
        """The decoded table of a layer."""
        return self.root / "events" / f"{table}.parquet"

    def link(self, link: str) -> Path:
        """The decoded fate of each packet of a link."""
        return self.root / "links" / f"{link}.parquet"

    def log(self, name: str) -> Path:
        """The log `name`, such as ``server.stderr``."""
        return self.root / "logs" / f"{name}.log"

    def segments(self) -> list[Path]:
        """All segments, finished or not, by name."""
        return sorted((self.root / "segments").glob("*.seg*"))

    def captures(self) -> list[Path]:
        """All captures, finished or not, by name."""
        return sorted((self.root / "packets").glob("*.pcapng*"))


def create(root: Path) -> Layout:
    """A new, empty recording folder, mode 0700.

    Raises:
        RecordingError: the folder exists and is not empty, or cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(root.iterdir()):
            raise RecordingError(
                f"{root} is not empty: give a new folder", where=str(root), wanted="a new folder"
            )
        for name in _FOLDERS:
            (root / name).mkdir(mode=0o700)
    except OSError as error:
        raise RecordingError(
            f"cannot make the folder {root}: {error.strerror}", where=str(root)
        ) from error
    return Layout(root)


def open_layout(root: Path) -> Layout:
    """The layout of an existing recording.

    Raises:
        RecordingError: there is no such folder, or no manifest in it.
    """
    layout = Layout(root)
    if not root.exists():
        raise RecordingError(f"there is no folder {root}", where=str(root))
    if not layout.manifest.is_file():
        raise RecordingError(
            f"{root} is no recording: expected a folder with manifest.json in it", where=str(root)
        )
    return layout


def partial(path: Path) -> Path:
    """The name that `path` has while it is being written."""
    return path.with_name(path.name + PARTIAL)


def create_partial(path: Path) -> int:
    """A descriptor open for writing on the partial name of `path`, mode 0600."""
    return os.open(
        partial(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
    )


def finish_partials(layout: Layout) -> list[Path]:
    """Renames every file that was still being written to its final name; returns those names.

    Called when no writer is left, also after a run that was killed: a cut segment is readable up to
    its cut.
    """
    finished = []
    for path in sorted(layout.root.rglob("*" + PARTIAL)):
        target = path.with_name(path.name.removesuffix(PARTIAL))
        path.rename(target)
        finished.append(target)
    return finished


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` under a temporary name, then renames it; mode 0600.

    Raises:
        OSError: it cannot be written; nothing half-written is left.
    """
    descriptor = create_partial(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError:
        partial(path).unlink(missing_ok=True)
        raise
    partial(path).rename(path)
