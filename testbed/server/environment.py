"""The packages of another virtual environment, for the application.

Rules:

- They stand behind the testbed's own: of a package that both have the testbed's is imported. The
  server and the probes run on versions that are known to work, and which ones is in the manifest.
- Its ``.pth`` files count, as they do in the environment itself: packages that are installed in
  development mode are found.
- Both must be of one version of Python: packages with compiled parts load in no other.

Why not run the server with the environment's own interpreter: the server and the probes are
imported in that process, and the environment has neither.
"""

from __future__ import annotations

import re
import site
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from testbed.errors import Problem, ScenarioError

_WHERE: Final = "app_environment"
_VERSION: Final = re.compile(r"^\s*version(?:_info)?\s*=\s*(\d+)\.(\d+)", re.MULTILINE)


def packages_of(environment: str | None) -> list[str]:
    """Where an environment has its packages; none: none.

    Raises:
        ScenarioError: it is no virtual environment, or of another version of Python.
    """
    if environment is None:
        return []
    folder = Path(environment).expanduser().absolute()
    try:
        match = _VERSION.search((folder / "pyvenv.cfg").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        match = None
    if match is None:
        raise _wrong(
            f"expected the folder of a virtual environment, with its pyvenv.cfg (got {folder})"
        )
    version = (int(match[1]), int(match[2]))
    if version != sys.version_info[:2]:
        own = ".".join(map(str, sys.version_info[:2]))
        raise _wrong(
            f"{folder} is of Python {match[1]}.{match[2]}, and the testbed runs on {own}: make one "
            f"with that version, or install the testbed into {folder}"
        )
    packages = folder / "lib" / f"python{match[1]}.{match[2]}" / "site-packages"
    if not packages.is_dir():
        raise _wrong(f"{folder} has no {packages}")
    return [str(packages)]


def _wrong(message: str) -> ScenarioError:
    """The command line says the option in the place of the scenario's field."""
    return ScenarioError([Problem(_WHERE, message)])


def add_packages(folders: Sequence[str]) -> None:
    """Puts folders of packages behind all others on sys.path, with what their .pth files name."""
    for folder in folders:
        site.addsitedir(folder)
