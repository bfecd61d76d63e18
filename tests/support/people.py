"""Running something as an ordinary user, whoever runs the tests."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_NOBODY: Final = 65534


def environment(**more: str) -> dict[str, str]:
    """This process's environment for a child in any folder: it finds this checkout, and no token
    of the sandbox around it."""
    path = os.pathsep.join(
        [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH", "")])],
    )
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


def as_ordinary_user(argv: list[str]) -> list[str]:
    """`argv`, run by an ordinary user: who we are, or, where we are root, the user nobody.

    The interpreter and the checkout may lie in folders that only their owner may enter; the way to
    them is opened as the testbed does it for its servers.
    """
    if os.geteuid() != 0:
        return argv
    needed = [REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).parent]
    return [
        sys.executable,
        "-m",
        "testbed.sandbox.reach",
        json.dumps([str(path) for path in needed]),
        "setpriv",
        f"--reuid={_NOBODY}",
        f"--regid={_NOBODY}",
        "--clear-groups",
        *argv,
    ]


@contextmanager
def home_of_ordinary_user() -> Iterator[Path]:
    """A folder that belongs to the user of `as_ordinary_user` (pytest's own lie below a folder that
    only who runs the tests may enter)."""
    folder = Path(tempfile.mkdtemp(prefix="testbed-home-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder)
