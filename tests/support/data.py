"""Pasted real output, in tests/data: each file headed with its command, kernel and versions."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1] / "data"


def pasted(name: str) -> str:
    """The output in a file, without the lines that say where it is from."""
    lines = (_FOLDER / name).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))
