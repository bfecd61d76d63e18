"""The one way to run ip, tc, ethtool and sysctl.

Every command raises with its argument vector, exit code and standard error when it fails, and is
kept for `commands.sh`, so that a student can repeat it by hand.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from testbed.errors import ReadBackError, ToolError, ToolMissingError

_HEAD = """\
#!/bin/sh
# The commands that built this network, in order. To repeat them by hand, as root in a scratch
# namespace:
#   unshare --net --mount sh
#   mount -t tmpfs none /run && mkdir /run/netns && sh -e commands.sh
# Then each node is a namespace: ip netns exec NODE ping ADDRESS
# A link made of TAP devices (tuntap) carries nothing until a relay runs between them.
set -e
"""
_NOT_SPACE: Final = re.compile(r"\S")


class Toolbox:
    """Runs tools and remembers what it ran."""

    def __init__(self) -> None:
        self._commands: list[str] = []
        self._files: dict[Path, str] = {}

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        remember: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Runs `argv` with `stdin` and returns its standard output.

        Args:
            argv: the command; no shell is involved.
            stdin: what it reads, such as the lines of a batch.
            remember: whether it belongs to what builds the network (a read-back does not).
            env: variables that it has beside this process's own.

        Raises:
            ToolMissingError: there is no such program.
            ToolError: it ended with another exit code than 0.
        """
        program = find_tool(argv[0])
        if remember:
            self.remember(argv, stdin, env)
        done = subprocess.run(
            [program, *argv[1:]],
            env={**os.environ, **env} if env else None,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ToolError(argv, done.returncode, done.stderr or done.stdout)
        return done.stdout

    def batch(
        self,
        argv: Sequence[str],
        lines: Sequence[str],
        *,
        remember: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Runs ip or tc once with `lines` as its batch; nothing when there are none."""
        if not lines:
            return ""
        stdin = "".join(f"{line}\n" for line in lines)
        return self.run([*argv, "-batch", "-"], stdin=stdin, remember=remember, env=env)

    def settle(
        self,
        argv: Sequence[str],
        lines: Sequence[str],
        questions: Sequence[str],
        *,
        options: Sequence[str] = (),
    ) -> list[Any]:
        """Runs ip or tc once, with `lines` and then `questions` as its batch.

        Args:
            argv: the command, such as ``["tc", "-n", "r1"]``.
            lines: what sets something, for `commands.sh` as well.
            questions: what shows something, each as one JSON text.
            options: how it shows it, such as ``-d``.

        Returns:
            What each question answers.

        Raises:
            ToolError: a line failed.
        """
        if lines:
            self.remember([*argv, "-batch", "-"], "".join(f"{line}\n" for line in lines))
        text = self.batch([*argv, "-j", *options], [*lines, *questions], remember=False)
        found = _json_texts(text)
        if len(found) != len(questions):
            raise ReadBackError(
                f"{shlex.join(argv)} answered {len(found)} of {len(questions)} questions: "
                f"{'; '.join(questions)}",
                where=argv[0],
            )
        return found

    def append(self, other: Toolbox) -> None:
        """Adds what another one remembers to what this one does."""
        self._commands += other._commands

    def write_file(self, path: Path, text: str) -> None:
        """Writes a file that a tool reads; `commands.sh` writes it, too.

        Args:
            path: in the sandbox's own /run; its folder is made.
            text: whole lines.
        """
        if self._files.get(path) == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
        self._files[path] = text
        folder, name = shlex.quote(str(path.parent)), shlex.quote(str(path))
        self._commands += [f"mkdir -p {folder}", f"cat > {name} <<'END'\n{text}END"]

    def remember(
        self, argv: Sequence[str], stdin: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        """Adds a command to `commands.sh`."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in (env or {}).items()]
        text = " ".join([*variables, shlex.join(argv)])
        if stdin:
            text += f" <<'END'\n{stdin}END"
        self._commands.append(text)

    def script(self) -> str:
        """What ran so far, as a shell script."""
        return _HEAD + "".join(f"{command}\n" for command in self._commands)


def _json_texts(text: str) -> list[Any]:
    """The values of JSON texts that follow one another."""
    found = []
    decoder = json.JSONDecoder()
    place = 0
    while start := _NOT_SPACE.search(text, place):
        value, place = decoder.raw_decode(text, start.start())
        found.append(value)
    return found


def locate(name: str) -> str | None:
    """The path of a program, also in the sbin folders that ordinary users lack."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def find_tool(name: str) -> str:
    """The path of a program.

    Raises:
        ToolMissingError: it is not installed.
    """
    path = locate(name)
    if path is None:
        raise ToolMissingError(
            f'the program "{name}" is not installed; `testbed doctor` says how to get it',
            where=name,
        )
    return path
