"""What the application under test and the clients may do: nothing that they do not need.

- As real root they become unprivileged users, servers and clients not the same: who has another
  user's process cannot open what it has open (proc(5), ptrace(2)), such as a server's key. The
  folders they import from are made reachable for them where they are not.
- In a user namespace they keep the one user there is, without a single capability.
- Either way no_new_privs is set: nothing that they start can gain any.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from testbed import bundled
from testbed.network.tools import find_tool
from testbed.sandbox.namespaces import is_mapped
from testbed.sandbox.reach import blocked

SERVER_ID: Final = 65534
"""User and group of servers: "nobody"."""
CLIENT_ID: Final = 65533
"""User and group of clients: nobody has this number, but for the reserved ones it is the last."""


def server_user() -> int | None:
    """User and group that a server has; None: those of this process."""
    return None if is_mapped() else SERVER_ID


def without_privileges(
    argv: Sequence[str], folders: Sequence[Path], user: int = SERVER_ID
) -> list[str]:
    """Puts what takes its privileges away before `argv`.

    Args:
        argv: the command.
        folders: where the user's modules and packages lie.
        user: whom it becomes, where this is real root.
    """
    dropped = [
        find_tool("setpriv"),
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]
    if is_mapped():
        return [*dropped, *argv]
    dropped += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    needed = _needed(folders)
    if not blocked(needed):
        return [*dropped, *argv]
    reach = [sys.executable, "-m", "testbed.sandbox.reach", json.dumps([str(p) for p in needed])]
    return [*reach, *dropped, *argv]


def _needed(folders: Sequence[Path]) -> list[Path]:
    """Where a process finds its interpreter, its packages, the applications."""
    places = [
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path(sys.executable).parent,
        Path(bundled.__file__).parent,
        bundled.folder("apps"),
        *folders,
        *(Path(entry) for entry in sys.path if entry),
    ]
    return [folder for folder in dict.fromkeys(places) if folder.is_dir()]
