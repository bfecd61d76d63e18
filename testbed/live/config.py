"""What the process inside the sandbox is told."""

from __future__ import annotations

import msgspec

from testbed.scenario import Scenario


class LiveConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Its one argument, as JSON."""

    root: str
    """The recording's folder, made already."""
    scenario: Scenario
    seed: int
    directory: str
    """Where the user's modules are imported from."""
    relay_cpu: int | None = None
    """A CPU that is kept free for the relay."""
    progress_fd: int | None = None
    """Descriptor of a pipe for lines of JSON (testbed.recording.progress); None with a shell."""
    orders_fd: int | None = None
    """Descriptor of a pipe with orders (testbed.recording.progress.Order); None: there are none."""
    trace_instance: str = ""
    """Name of an instance in tracefs, made already; empty: there is none."""
    trace_missing: str = ""
    """Why there is none."""
    descriptors: int | None = None
    """Limit on the descriptors of servers and clients where the scenario has none; None: that of
    the process inside the sandbox.
    """
    shell: bool = False
    """Give the terminal to Mininet's command line instead of making a load."""
