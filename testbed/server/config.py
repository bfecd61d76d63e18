"""What a server process is told."""

from __future__ import annotations

import msgspec

from testbed.scenario.model import HttpVersion
from testbed.units import NS_PER_S


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one argument of a server process, as JSON."""

    name: str = "server"
    """The process's name in its segments."""
    node: str
    server: str = "hypercorn"
    """A server model (`testbed.scenario.servers`)."""
    app: str
    """A short name out of apps/, or ``module:attribute``."""
    directory: str
    """Where the user's modules are imported from: put first on sys.path."""
    packages: list[str] = []
    """Folders of further packages, behind all others."""
    hosts: list[str]
    """Addresses to listen on; IPv6 addresses without brackets."""
    port: int
    """0: a free one, which standard error names ("Running on http://...")."""
    backlog: int = 100
    """Of listen(2): bounds the accept queue (further bounded by net.core.somaxconn)."""
    receive_buffer_bytes: int | None = None
    """SO_RCVBUF, as given to setsockopt(2); None: the kernel's own, which it tunes."""
    send_buffer_bytes: int | None = None
    """SO_SNDBUF, the same way."""
    listen_fds: list[int] = []
    """Descriptors of sockets that are bound and have their settings, shared with other workers;
    none: the server binds `hosts` and `port` by itself.
    """
    ready_fd: int | None = None
    """Descriptor of a pipe on which the server says once that it listens; None: nobody waits."""
    http: HttpVersion = "1.1"
    """With TLS the only version that is offered by ALPN. Without, Hypercorn speaks either, as the
    client begins.
    """
    tls_fd: int | None = None
    """Descriptor of a file with the private key and the certificates, PEM; None: no TLS."""
    event_loop_fd: int | None = None
    """Descriptor of the event loop probe's segment; None: this probe is off."""
    asgi_fd: int | None = None
    """Descriptor of the ASGI probe's segment; None: this probe is off."""
    syscall_fd: int | None = None
    """Descriptor of the syscall probe's segment; None: this probe is off."""
    startup_timeout_ns: int = 30 * NS_PER_S
    """Limit on the application's lifespan startup."""
    graceful_timeout_ns: int = NS_PER_S
    """At the stop: limit on requests under way, and then on the lifespan shutdown."""
    keep_alive_timeout_ns: int = 3600 * NS_PER_S
    """How long an idle connection is kept."""
