"""The library that makes the requests: httpx, or httpx2, its continuation by Pydantic.

httpx2 2.x has the same transport, exceptions and trace, and takes the same network backends
(httpcore2), so that all that is observed is the same. It is imported where it is asked for only: it
is an extra.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from testbed.errors import MachineError
from testbed.scenario.load import Client

DISTRIBUTION: Final = "asgi-testbed"
_CORES: Final = {"httpx": "httpcore", "httpx2": "httpcore2"}


class Library(NamedTuple):
    """A library and what lies beneath it, as modules."""

    name: Client
    http: Any
    """httpx or httpx2."""
    core: Any
    """httpcore or httpcore2."""

    @property
    def exceptions(self) -> tuple[type[Exception], ...]:
        """What it raises for a request."""
        return (self.http.HTTPError, self.http.InvalidURL, self.http.StreamError)


def library(name: Client) -> Library:
    """The library of that name.

    Raises:
        ImportError: it is not installed.
    """
    return Library(name, import_module(name), import_module(_CORES[name]))


def check_client(name: Client) -> None:
    """Finds whether `library` would find it; nothing is imported.

    Raises:
        MachineError: it is not installed.
    """
    if find_spec(name) is None or find_spec(_CORES[name]) is None:
        raise MachineError(
            f"the library {name} is not installed; get it with: "
            f"{sys.executable} -m pip install '{DISTRIBUTION}[{name}]'",
            where="client",
        )
