"""What a load process is told."""

from __future__ import annotations

import os
from array import array

import msgspec

from testbed.load.share import Share
from testbed.scenario import Load
from testbed.scenario.model import HttpVersion


class LoadConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one argument of a load process, as JSON."""

    name: str
    """Its name in its segments."""
    node: str
    """Its client host; with the seed the key of request ids, arrivals and all draws."""
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
    share: Share = Share()
    """Which part of the host's load is its own."""
    arrivals_fd: int | None = None
    """Descriptor of a file of times in ns, 64-bit numbers of this machine; None: no trace."""

    def read_arrivals(self) -> array[int]:
        """The times of a trace of arrivals; none where there is no trace."""
        times: array[int] = array("q")
        if self.arrivals_fd is not None:
            size = os.fstat(self.arrivals_fd).st_size
            times.frombytes(os.pread(self.arrivals_fd, size, 0))
        return times
