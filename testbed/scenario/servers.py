"""The server models: what can run an application, and what each of them can do.

One table, for everybody who has to know: the scenario refuses what a model cannot do, the probes
are told where there is nothing for them to see, and the server process finds the module that runs
the model (``testbed/server/NAME_server.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Loop = Literal["trio", "asyncio"]


@dataclass(frozen=True, slots=True)
class ServerModel:
    """One way to run an application."""

    name: str
    loop: Loop | None
    """Whose event loop it has; None: it has none, and every connection is handled by blocking
    calls.
    """
    http: tuple[str, ...] = ("1.1",)
    """The versions of HTTP that it speaks."""

    @property
    def module(self) -> str:
        """The module that runs it."""
        return f"testbed.server.{self.name.replace('-', '_')}_server"

    @property
    def runs_wsgi(self) -> bool:
        """Whether it runs WSGI applications (PEP 3333); ASGI applications it runs in any case."""
        return self.loop is None

    def blind(self, probe: str) -> str:
        """Why the probe `event_loop` or `syscall` sees nothing of this server; empty: it does."""
        if probe == "event_loop" and self.loop is None:
            return f"the server {self.name} has no event loop"
        if probe == "syscall" and self.loop is None:
            return f"the sockets of the server {self.name} belong to several threads or processes"
        return ""

    def lacking(self, probe: str) -> str:
        """What a probe that sees this server does not see of it; empty: nothing is lacking."""
        if probe == "syscall" and self.loop == "asyncio":
            return f"of the server {self.name} calls without their waits"
        return ""


_MODELS: Final = (
    ServerModel("hypercorn", "trio", ("1.1", "2")),
    ServerModel("hypercorn-asyncio", "asyncio", ("1.1", "2")),
    ServerModel("uvicorn", "asyncio"),
    ServerModel("blocking", None),
    ServerModel("threaded", None),
    ServerModel("forking", None),
)
MODELS: Final[Mapping[str, ServerModel]] = {model.name: model for model in _MODELS}
"""By name, the reference first."""
SERVERS: Final = tuple(MODELS)
MOST_WORKERS: Final = 64
"""Processes of one server: far more than there are processors."""


def speaking(version: str) -> tuple[str, ...]:
    """The models that speak a version of HTTP."""
    return tuple(name for name, model in MODELS.items() if version in model.http)
