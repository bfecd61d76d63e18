"""Where the last calibration lies, and whether it counts here and now.

One file, ``asgi-testbed/calibration.json`` below ``$XDG_STATE_HOME`` or ``~/.local/state`` (XDG
Base Directory Specification: state that persists and is no configuration). Mode 0600, written under
a temporary name and renamed.

Rules:

- A calibration of another kernel, another number or model of CPUs or another kind of user does not
  count: each of them changes what the links do.
- Whatever lies there, reading it raises nothing: it is a calibration, or why there is none.
"""

from __future__ import annotations

import errno
import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from testbed.calibration.record import FORMAT, Calibration, Machine
from testbed.errors import MachineError

_VARIABLE: Final = "XDG_STATE_HOME"
_MOST_BYTES: Final = 10 * 2**20
AGAIN: Final = "testbed calibrate"


@dataclass(frozen=True, slots=True)
class Stored:
    """What was found."""

    calibration: Calibration | None
    """None: there is none that counts."""
    reason: str = ""
    """Why there is none."""
    damaged: bool = False
    """There is a file and it cannot be read."""


def this_machine() -> Machine:
    """What a calibration made here and now depends on."""
    return Machine(
        kernel=platform.release(),
        cpus=os.cpu_count() or 1,
        cpu_model=_cpu_model(),
        user="root" if os.geteuid() == 0 else "ordinary",
    )


def _cpu_model() -> str:
    """As /proc/cpuinfo names it, which some architectures do not."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def path() -> Path | None:
    """Where a calibration is stored; None: this user has no home."""
    given = os.environ.get(_VARIABLE, "")
    if Path(given).is_absolute():  # the specification: a relative one is to be ignored
        folder = Path(given)
    else:
        try:
            folder = Path.home() / ".local" / "state"
        except RuntimeError:
            return None
    return folder / "asgi-testbed" / "calibration.json"


def writable_path() -> Path:
    """The file's path, where it can be written; nothing is made.

    Raises:
        MachineError: it cannot.
    """
    target = path()
    if target is None:
        raise MachineError(
            f"there is nowhere to store a calibration: this user has no home; set {_VARIABLE}",
            where=_VARIABLE,
        )
    there = next(folder for folder in target.parents if folder.exists())
    if not there.is_dir():
        raise _unwritable(there, os.strerror(errno.ENOTDIR))
    if not os.access(there, os.W_OK | os.X_OK):
        raise _unwritable(there, os.strerror(errno.EACCES))
    return target


def _unwritable(folder: Path, why: str | None) -> MachineError:
    return MachineError(
        f"cannot store a calibration in {folder}: {why}; {_VARIABLE} says where else it may lie",
        where=str(folder),
    )


def write(calibration: Calibration, target: Path) -> None:
    """Stores a calibration in place of the one before.

    Raises:
        MachineError: it cannot be written.
    """
    data = msgspec.json.format(msgspec.json.encode(calibration), indent=2) + b"\n"
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A name of its own, mode 0600: another calibration may be written at the same time.
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=target.name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise _unwritable(target.parent, error.strerror) from error


def read(source: Path | None = None, machine: Machine | None = None) -> Stored:
    """The calibration that counts here, or why there is none.

    Args:
        source: another file than that of `path`.
        machine: another machine than this one.
    """
    source = source or path()
    if source is None:
        return Stored(None, "this user has no home to keep it in")
    try:
        with source.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return Stored(None, "there is none yet")
    except OSError as error:
        return Stored(None, f"{source} cannot be read: {error.strerror}", damaged=True)
    try:
        form = msgspec.json.decode(data, type=dict).get("format")
        if form != FORMAT:
            return Stored(None, f"{source} has format {form!r}; this version reads {FORMAT}")
        found = msgspec.json.decode(data, type=Calibration)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Stored(None, f"{source} is damaged: {error}", damaged=True)
    stale = staleness(found.machine, machine or this_machine())
    return Stored(None, stale) if stale else Stored(found)


def staleness(then: Machine, now: Machine) -> str:
    """Why a calibration of `then` does not count on `now`; empty: it does."""
    user = {"root": "root", "ordinary": "an ordinary user"}
    differences = [
        (then.kernel, now.kernel, f"kernel {then.kernel}; this is {now.kernel}"),
        (then.cpus, now.cpus, f"{then.cpus} CPUs; here are {now.cpus}"),
        (then.cpu_model, now.cpu_model, f'CPU "{then.cpu_model}"; this is "{now.cpu_model}"'),
        (then.user, now.user, f"{user[then.user]}; this is {user[now.user]}"),
    ]
    different = [text for before, here, text in differences if before != here]
    return (
        f"the last one is of another machine or user: {'; '.join(different)}" if different else ""
    )
