"""A checkout with ./tb in it on a machine of its own, for tests of ./tb.

What would need root or the network (apt-get, dpkg-query, id, and Python with its venv and pip) is a
script that writes down how it was called. The rest is real.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FILES = (
    "tb",
    "pyproject.toml",
    "constraints.txt",
    "debian-packages.txt",
    "debian-packages-test.txt",
    "debian-packages-kernel.txt",
)
TOOLS = (
    *("cat", "chown", "cksum", "cp", "dirname", "flock", "ln", "mkdir", "mv"),
    *("readlink", "rm", "sed", "sh", "tail", "touch", "tr"),
)
# A file in $FAKES switches something on for these scripts, and `calls` there is their diary.
FAKES = {
    "python": """
        case $* in
        -c*) [ ! -e "$FAKES/python_is_old" ] ;;
        *'-m venv '*)
            echo venv >>"$FAKES/calls"
            mkdir -p "$3/bin"
            touch "$3/half-made"
            ln -s "$FAKES/python" "$3/bin/python" ;;
        *'-m pip '*)
            echo "pip $*" >>"$FAKES/calls"
            echo "chatter of pip"
            if [ -e "$FAKES/pip_is_killed" ]; then kill -9 $PPID; fi
            if [ -e "$FAKES/pip_fails" ]; then echo "no such version"; exit 1; fi
            rm -f .venv/half-made
            cp "$FAKES/testbed" .venv/bin/testbed ;;
        '-m pytest '*) echo "$PWD: $*" ;;
        esac""",
    "dpkg-query": """
        shift 3
        for package; do
            [ -e "$FAKES/lacks_$package" ] || printf '%s=installed ' "$package"
        done
        [ ! -e "$FAKES/lacks_mininet" ]""",
    "apt-get": """
        echo "${DEBIAN_FRONTEND-} apt-get $*" >>"$FAKES/calls"
        echo "chatter of apt"
        case $1 in
        update) rm -f "$FAKES/lists_are_old" ;;
        install)
            if [ -e "$FAKES/lists_are_old" ]; then echo "Unable to locate"; exit 100; fi
            if [ -e "$FAKES/apt_fails" ]; then echo "no space left"; exit 100; fi
            rm -f "$FAKES"/lacks_* ;;
        esac""",
    "id": """if [ -e "$FAKES/is_root" ]; then echo 0; else echo 1000; fi""",
    "testbed": """echo "$PWD: $*" """,
}


class Machine:
    """A checkout with ./tb in it, and the programs of the machine that it finds itself on."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "a checkout"
        self.fakes = folder / "fakes"
        self.elsewhere = folder / "elsewhere"
        self.user: int | None = None
        for made in (self.checkout, self.checkout / "tests", self.fakes, self.elsewhere):
            made.mkdir()
        for name in FILES:
            shutil.copy(REPOSITORY / name, self.checkout)
        for tool in TOOLS:
            real = shutil.which(tool)
            assert real is not None, f"{tool} must be installed"
            (self.fakes / tool).symlink_to(real)
        for name, script in FAKES.items():
            (self.fakes / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.fakes / name).chmod(0o755)

    def switch_on(self, *names: str) -> None:
        for name in names:
            (self.fakes / name).touch()

    def switch_off(self, name: str) -> None:
        (self.fakes / name).unlink()

    def start(self, *arguments: str, program: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [program or self.checkout / "tb", *arguments],
            cwd=self.elsewhere,
            env={
                "PATH": str(self.fakes),
                "FAKES": str(self.fakes),
                "TESTBED_PYTHON": str(self.fakes / "python"),
            },
            user=self.user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def tb(self, *arguments: str, program: Path | None = None) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, program=program) as process:
            out, err = process.communicate(timeout=60)
            return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def calls(self) -> list[str]:
        """What the scripts were called for since the last time this was asked, in short."""
        diary = self.fakes / "calls"
        lines = diary.read_text().splitlines() if diary.exists() else []
        diary.unlink(missing_ok=True)
        return lines

    def set_up(self) -> None:
        assert self.tb().returncode == 0
        self.calls()
