"""Where the topologies and applications that come with the testbed lie.

A wheel carries them inside the package; in a checkout they stand beside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The folder `name` ("topologies" or "apps") of this installation."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def names(name: str) -> tuple[str, ...]:
    """The short names in that folder, sorted: files without ``.py``, private ones left out."""
    return tuple(
        sorted(path.stem for path in folder(name).glob("*.py") if not path.stem.startswith("_"))
    )
