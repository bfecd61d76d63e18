"""Lets a process without privileges reach the few folders that it needs.

A checkout or an interpreter may lie below a folder that only its owner may enter (root's home,
`mktemp -d`). For real root, a process that is to give its privileges up gets a mount namespace of
its own in which such a folder is replaced by one that may be entered and that holds nothing but the
way to what is needed. Nothing on the disk is changed.

    python -m testbed.sandbox.reach PATHS_JSON COMMAND...
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from testbed.sandbox import syscalls as sc
from testbed.sandbox.namespaces import replace_by_copy


def blocked(paths: Iterable[Path]) -> list[Path]:
    """The folders on the way to `paths` that others may not enter or read, outermost first."""
    found = set()
    for path in paths:
        resolved = path.resolve()
        for folder in (resolved, *resolved.parents):
            mode = folder.stat().st_mode
            needed = stat.S_IROTH | stat.S_IXOTH if folder == resolved else stat.S_IXOTH
            if stat.S_ISDIR(mode) and mode & needed != needed:
                found.add(folder)
    return sorted(found, key=lambda folder: len(folder.parts))


def open_the_way(paths: Iterable[Path]) -> None:
    """Makes `paths` reachable for everybody, in this process's own new mount namespace.

    Raises:
        OSError: a mount was refused.
    """
    wanted = [path.resolve() for path in paths]
    folders = blocked(wanted)
    sc.unshare(sc.CLONE_NEWNS)
    sc.mount("none", "/", None, sc.MS_REC | sc.MS_PRIVATE)
    for folder in folders:
        if folder in wanted:
            replace_by_copy(str(folder))
            continue
        steps = {p.relative_to(folder).parts[0] for p in wanted if p.is_relative_to(folder)}
        replace_by_copy(str(folder), only=tuple(steps))


def main(arguments: list[str]) -> None:
    """Opens the way, then becomes the command."""
    here = Path.cwd()
    open_the_way(Path(path) for path in json.loads(arguments[0]))
    os.chdir(here)
    os.execvp(arguments[1], arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
