"""What a load process is told."""

from __future__ import annotations

import msgspec

from testbed.scenario import Load
from testbed.scenario.model import HttpVersion


class LoadConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one argument of a load process, as JSON."""

    name: str
    """Its name in its segments; with the seed the key of its request ids and arrivals."""
    node: str
    base_urls: list[str]
    """Targets without a path (``http://10.0.0.2:8000``), taken in turn by request number."""
    load: Load
    http: HttpVersion = "1.1"
    ca_pem: str | None = None
    """The only authority whose certificates are believed; None: targets without TLS."""
    seed: int
    http_fd: int
    """Descriptor of the HTTP segment."""
    progress_fd: int
    """Descriptor of a pipe for lines of JSON, see `testbed.load.progress`."""
    event_loop_fd: int | None = None
    """Descriptor of the event loop probe's segment; None: this probe is off."""
    syscall_fd: int | None = None
    """Descriptor of the syscall probe's segment; None: this probe is off."""
    open_loop_connections: int = 100
    """Most connections of an open loop (httpx's default); requests beyond wait in the pool."""
