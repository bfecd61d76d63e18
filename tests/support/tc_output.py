"""What tc printed on Debian's kernel, in tests/data/tc_netem*.txt and tc_aqm*.txt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).resolve().parents[1] / "data"
_COMMAND: Final = "# $ "


def qdiscs_by_command(name: str) -> dict[str, list[dict[str, Any]]]:
    """The qdiscs that a file shows after each of its commands; none where tc refused."""
    found: dict[str, list[dict[str, Any]]] = {}
    command = ""
    for line in (_FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.startswith(_COMMAND):
            command = line.removeprefix(_COMMAND)
            found[command] = []
        elif not line.startswith("#"):
            found[command] = json.loads(line)
    return found


def options_after(name: str, settings: str) -> dict[str, Any]:
    """The options that the qdisc set by ``... settings`` reads back with.

    Args:
        name: the file.
        settings: the end of the command, from the qdisc's kind on.

    Raises:
        KeyError: no command of the file ends like that, or tc refused it.
    """
    kind = settings.split()[0]
    for command, qdiscs in qdiscs_by_command(name).items():
        if command.endswith(f" {settings}"):
            for qdisc in qdiscs:
                if qdisc["kind"] == kind:
                    options: dict[str, Any] = qdisc["options"]
                    return options
    raise KeyError(settings)
