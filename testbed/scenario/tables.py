"""Files that a setting names: distributions of delay, traces of capacity, times of requests.

The first two are formats of others: iproute2's ``*.dist`` and Mahimahi's packet delivery traces.
"""

from __future__ import annotations

import hashlib
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from testbed.errors import QuantityError, shown
from testbed.scenario.impairments import Trace
from testbed.scenario.names import did_you_mean
from testbed.units import parse_time_ns

DISTRIBUTION_SCALE: Final = 8192
"""An entry of so much is one standard deviation (NETEM_DIST_SCALE,
include/uapi/linux/pkt_sched.h)."""
MAX_DISTRIBUTION_ENTRIES: Final = 16384
"""NETEM_DIST_MAX, include/uapi/linux/pkt_sched.h."""
MAX_OPPORTUNITIES: Final = 1_000_000
"""In one period: two minutes at 100 Mbit/s."""
MAX_SEND_TIMES: Final = 1_000_000
_MAX_FILE_BYTES: Final = 16_000_000
_TRACES: Final = Path(__file__).resolve().parent / "traces"
_TIME: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_ENTRY: Final = re.compile(r"[+-]?(0|[1-9][0-9]{0,5})", re.ASCII)


def trace_names() -> tuple[str, ...]:
    """The traces that come with the testbed."""
    return tuple(sorted(path.stem for path in _TRACES.glob("*.trace")))


def trace_summary(name: str) -> str:
    """The first line of comment of a trace that comes with the testbed."""
    first = _text(_TRACES / f"{name}.trace").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def trace_path(name: str) -> Path:
    """The file of a trace, by its name or its path.

    Raises:
        QuantityError: it is neither.
    """
    known = trace_names()
    if name in known:
        return _TRACES / f"{name}.trace"
    return _file(name, f"a trace's name ({', '.join(known)}) or a file", did_you_mean(name, known))


def describe_trace(name: str) -> Trace:
    """What is in a trace.

    Raises:
        QuantityError: no such file, or it is none in Mahimahi's format.
    """
    path = trace_path(name)
    times_ms = read_trace(name)
    return Trace(
        name=name,
        opportunities=len(times_ms),
        period_ms=times_ms[-1],
        sha256=hashlib.sha256(_bytes(path)).hexdigest(),
    )


def read_trace(name: str) -> tuple[int, ...]:
    """The times of the opportunities of a trace in ms, ascending; the last one is its period.

    Mahimahi's format (mahimahi(1), mm-link): one time in milliseconds a line, each an opportunity
    to send one packet of 1500 bytes; after the last line the trace begins again. Empty lines and
    those that begin with # are ours: Mahimahi has neither.

    Raises:
        QuantityError: no such file, or it is none in this format; with the line.
    """
    path = trace_path(name)
    return _trace(path, _identity(path))


@lru_cache(maxsize=16)
def _trace(path: Path, _identity: tuple[int, ...]) -> tuple[int, ...]:
    times: list[int] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        if _TIME.fullmatch(word) is None:
            raise QuantityError(
                f"{path}:{number}: expected a time in whole milliseconds (got {shown(word)})"
            )
        time_ms = int(word)
        if times and time_ms < times[-1]:
            raise QuantityError(
                f"{path}:{number}: expected times that do not go back (got {time_ms} after "
                f"{times[-1]})"
            )
        times.append(time_ms)
        if len(times) > MAX_OPPORTUNITIES:
            raise QuantityError(
                f"{path}:{number}: expected at most {MAX_OPPORTUNITIES} times (got more)"
            )
    if not times or times[-1] == 0:
        raise QuantityError(f"{path}: expected at least one time after 0 ms (got none)")
    return tuple(times)


def read_send_times(file: str) -> tuple[int, ...]:
    """When requests are due, in ns from the start of the load, ascending.

    One time a line with its unit, ``1.25s``; two requests may have the same. Empty lines and those
    that begin with # are left out.

    Raises:
        QuantityError: no such file, or it is none in this format; with the line.
    """
    path = _file(file, "a file of times")
    return _send_times(path, _identity(path))


@lru_cache(maxsize=4)
def _send_times(path: Path, _identity: tuple[int, ...]) -> tuple[int, ...]:
    times: list[int] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        try:
            due_ns = parse_time_ns(word)
        except QuantityError as error:
            raise QuantityError(f"{path}:{number}: {error}") from error
        if times and due_ns < times[-1]:
            raise QuantityError(
                f"{path}:{number}: expected times that do not go back (got {word} after "
                f"{times[-1]} ns)"
            )
        times.append(due_ns)
        if len(times) > MAX_SEND_TIMES:
            raise QuantityError(f"{path}:{number}: expected at most {MAX_SEND_TIMES} times")
    if not times:
        raise QuantityError(f"{path}: expected at least one time (got none)")
    return tuple(times)


def describe_send_times(file: str) -> SendTimes:
    """What is in a file of times.

    Raises:
        QuantityError: as `read_send_times`.
    """
    times = read_send_times(file)
    digest = hashlib.sha256(_bytes(Path(file).expanduser())).hexdigest()
    return SendTimes(file=file, times=len(times), last_ns=times[-1], sha256=digest)


class SendTimes(msgspec.Struct, frozen=True, kw_only=True):
    """A trace of arrivals."""

    file: str
    times: int
    """How many requests."""
    last_ns: int
    """When the last one is due, from the start of the load."""
    sha256: str
    """Of the file."""


def read_distribution(file: str) -> tuple[int, ...]:
    """The entries of a distribution: inverse cumulative, 8192 a standard deviation.

    iproute2's format (tc/q_netem.c, get_distribution): whole numbers of 16 bits, blanks between
    them, lines that begin with # left out. Octal and hexadecimal numbers, which iproute2 would
    read, are refused: 010 is 8 there.

    Raises:
        QuantityError: no such file, or it is none in this format; with the line.
    """
    path = _file(file, "a file of a distribution")
    return _distribution(path, _identity(path))


@lru_cache(maxsize=16)
def _distribution(path: Path, _identity: tuple[int, ...]) -> tuple[int, ...]:
    entries: list[int] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.startswith("#"):
            continue
        for word in line.split():
            entry = int(word) if _ENTRY.fullmatch(word) else None
            if entry is None or not -32768 <= entry <= 32767:
                raise QuantityError(
                    f"{path}:{number}: expected whole numbers of 16 bits (got {shown(word)})"
                )
            entries.append(entry)
    if not 1 <= len(entries) <= MAX_DISTRIBUTION_ENTRIES:
        raise QuantityError(
            f"{path}: expected 1 to {MAX_DISTRIBUTION_ENTRIES} entries (got {len(entries)})"
        )
    return tuple(entries)


def is_file(path: Path) -> bool:
    """Whether there is such a file; no for whatever the system refuses to look up."""
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be searched
        return False


def _file(name: str, wanted: str, hint: str = "") -> Path:
    """The file of that name.

    Raises:
        QuantityError: there is none, and why.
    """
    why = "which is neither" if " or " in wanted else "which is none"
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError, ValueError) as error:
        why = str(getattr(error, "strerror", None) or error).lower()
    else:
        if stat.S_ISREG(mode):
            return path
        why = "which is a folder" if stat.S_ISDIR(mode) else "which is no regular file"
    raise QuantityError(f"expected {wanted} (got {shown(name)}, {why}{hint})", got=name)


def _identity(path: Path) -> tuple[int, ...]:
    """What changes when a file does, so that it is read again."""
    try:
        found = path.stat()
    except OSError as error:
        raise QuantityError(f"cannot read {path}: {error.strerror}") from error
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("ascii")
    except UnicodeDecodeError as error:
        raise QuantityError(
            f"{path}: expected numbers as plain text (got {error.object[error.start]:#04x} as byte "
            f"{error.start + 1})"
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise QuantityError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise QuantityError(f"{path}: expected at most {_MAX_FILE_BYTES // 10**6} MB (got more)")
    return data
