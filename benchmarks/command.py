"""What the commands of all benchmarks have in common: options, errors, and what they print.

Rules:

- Results go to standard output, as a table or as JSON; how far it is and what went wrong to
  standard error.
- A command ends with 0 whatever its figures are, with the testbed's own exit code where it could
  not measure, and with 130 at Ctrl-C.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import TypeVar

import msgspec

from testbed.errors import TestbedError

_Results = TypeVar("_Results")


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return made


def whole(text: str) -> int:
    """A whole number of at least 1, as an option's value."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f'expected a whole number of at least 1 (got "{text}")')
    return int(text)


def whole_within(low: int, high: int) -> Callable[[str], int]:
    """What reads a whole number between two, which it may be as well."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            wanted = f"expected a whole number of {low} to {high}"
            raise argparse.ArgumentTypeError(f'{wanted} (got "{text}")')
        return int(text)

    return read


def seconds(text: str) -> float:
    """Seconds, more than none, as an option's value."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'expected seconds greater than 0 (got "{text}")')
    return value


def say(text: str) -> None:
    """Says how far it is."""
    print(text, file=sys.stderr, flush=True)


def run(
    name: str,
    measure: Callable[[], _Results],
    show: Callable[[_Results], None],
    *,
    as_json: bool,
) -> int:
    """Measures and prints; returns the exit code.

    Args:
        name: of the benchmark.
        measure: returns its results.
        show: prints them for people.
        as_json: print them as JSON instead.
    """
    try:
        results = measure()
    except TestbedError as error:
        where = f"{error.where}: " if error.where and error.where not in str(error) else ""
        say(f"benchmarks.{name}: error: {where}{error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(results)).decode())
    else:
        show(results)
    return 0
