"""Files that a link setting names: distributions of delay, traces of capacity.

Both are formats of others: iproute2's ``*.dist`` and Mahimahi's packet delivery traces.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from testbed.errors import QuantityError
from testbed.scenario.impairments import Trace
from testbed.scenario.names import did_you_mean

DISTRIBUTION_SCALE: Final = 8192
"""An entry of so much is one standard deviation (NETEM_DIST_SCALE,
include/uapi/linux/pkt_sched.h)."""
MAX_DISTRIBUTION_ENTRIES: Final = 16384
"""NETEM_DIST_MAX, include/uapi/linux/pkt_sched.h."""
_MAX_OPPORTUNITIES: Final = 10_000_000
_TRACES: Final = Path(__file__).resolve().parent / "traces"
_WORD: Final = re.compile(r"\S+")


def trace_names() -> tuple[str, ...]:
    """The traces that come with the testbed."""
    return tuple(sorted(path.stem for path in _TRACES.glob("*.trace")))


def trace_path(name: str) -> Path:
    """The file of a trace, by its name or its path.

    Raises:
        QuantityError: it is neither.
    """
    if name in trace_names():
        return _TRACES / f"{name}.trace"
    path = Path(name).expanduser()
    if not path.is_file():
        known = trace_names()
        raise QuantityError(
            f'expected a trace\'s name ({", ".join(known)}) or a file (got "{name}", which is '
            f"neither{did_you_mean(name, known)})",
            got=name,
        )
    return path


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
    to send one packet of 1500 bytes; after the last line the trace begins again.

    Raises:
        QuantityError: no such file, or it is none in this format; with the line.
    """
    path = trace_path(name)
    return _trace(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _trace(path: Path, _changed_ns: int) -> tuple[int, ...]:
    times: list[int] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        if not (word.isascii() and word.isdigit()):
            raise QuantityError(
                f'{path}:{number}: expected a time in whole milliseconds (got "{word[:40]}")'
            )
        time_ms = int(word)
        if times and time_ms < times[-1]:
            raise QuantityError(
                f"{path}:{number}: times must not go back (got {time_ms} after {times[-1]})"
            )
        times.append(time_ms)
        if len(times) > _MAX_OPPORTUNITIES:
            raise QuantityError(f"{path}: more than {_MAX_OPPORTUNITIES} lines")
    if not times or times[-1] == 0:
        raise QuantityError(f"{path}: expected at least one time after 0 ms (got none)")
    return tuple(times)


def read_distribution(file: str) -> tuple[int, ...]:
    """The entries of a distribution: inverse cumulative, 8192 a standard deviation.

    iproute2's format (tc/q_netem.c, get_distribution): whole numbers of 16 bits, blanks between
    them, lines that begin with # left out.

    Raises:
        QuantityError: no such file, or it is none in this format; with the line.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise QuantityError(f'expected a file of a distribution (got "{file}", which is none)')
    return _distribution(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _distribution(path: Path, _changed_ns: int) -> tuple[int, ...]:
    entries: list[int] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.startswith("#"):
            continue
        for word in _WORD.findall(line):
            try:
                entry = int(word)
            except ValueError:
                entry = 1 << 20
            if not -32768 <= entry <= 32767:
                raise QuantityError(
                    f'{path}:{number}: expected whole numbers of 16 bits (got "{word[:40]}")'
                )
            entries.append(entry)
    if not 1 <= len(entries) <= MAX_DISTRIBUTION_ENTRIES:
        raise QuantityError(
            f"{path}: expected 1 to {MAX_DISTRIBUTION_ENTRIES} entries (got {len(entries)})"
        )
    return tuple(entries)


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("ascii")
    except UnicodeDecodeError as error:
        raise QuantityError(
            f"{path}: byte {error.start + 1}: expected numbers as plain text"
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise QuantityError(f"cannot read {path}: {error.strerror}") from error
