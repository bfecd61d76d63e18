"""What the three blocking servers have in common: wsgiref's server, made to speak HTTP/1.1.

They are the standard library's: ``wsgiref.simple_server`` (PEP 3333) on ``socketserver``, whose
mixins are all the difference between one connection at a time, a thread for each, and a process for
each.

Rules:

- One request a connection: every answer says ``Connection: close``, as gunicorn's sync workers do.
  Were connections kept, a client that is silent would hold the only thread there is.
- An answer without Content-Length ends with its connection (RFC 9112, 6.3). A request whose body
  has no Content-Length is answered 411, for wsgiref cannot read chunks.
- What the application leaves unread of a request's body is read before the connection is closed;
  the kernel would send RST otherwise, and the client might never see its answer.
- accept() that fails for want of descriptors is said in the log, and tried again 0.1 s later, as
  trio does. ``socketserver`` itself says nothing and tries again at once, for ever.
- The stop: no more is accepted; what is under way has the grace; then its connections are shut
  down.
- With TLS the handshake is the handler's: who handles one connection at a time waits for it too.

Why wsgiref's handler is subclassed: its own answers with HTTP/1.0 and logs every request.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any, Final
from wsgiref.handlers import SimpleHandler
from wsgiref.headers import Headers
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from testbed.server.application import Loaded, WsgiApplication
from testbed.server.asgi_to_wsgi import AsgiToWsgi
from testbed.server.asyncio_process import check_lifeline
from testbed.server.config import ServerConfig
from testbed.server.listening import listening_sockets, url_of
from testbed.server.probes import ServerProbes
from testbed.server.ready import tell_ready
from testbed.units import NS_PER_S

POLL_S: Final = 0.1
"""How often a server looks whether it is to stop."""
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
_PAUSE_S: Final = 0.1
_LONGEST_LINE_BYTES: Final = 65536


class Told:
    """Whether this process was told to stop: by the end of standard input, SIGTERM or SIGINT.

    Raises:
        RequestError: standard input is no pipe.
    """

    def __init__(self) -> None:
        check_lifeline()
        self._signalled = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    def _receive(self, _number: int, _frame: Any) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        """Whether it was; once true, always true."""
        if not self._signalled and select.select([0], [], [], 0)[0]:
            self._signalled = not os.read(0, 4096)
        return self._signalled


class BlockingServer(WSGIServer):
    """One connection at a time; the mixins of ``socketserver`` make more of it."""

    multithread = False
    multiprocess = False

    def __init__(self, listening: socket.socket, config: ServerConfig) -> None:
        super().__init__(listening.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        # Another worker may be first to accept: then nobody waits in accept().
        self.socket.setblocking(False)
        self.request_queue_size = config.backlog
        self.timeout = POLL_S
        self.server_address = listening.getsockname()
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
        self.tls: ssl.SSLContext | None = None
        if config.tls_fd is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.set_alpn_protocols(["http/1.1"])
            self.tls.load_cert_chain(f"/proc/self/fd/{config.tls_fd}")
            self.base_environ["HTTPS"] = "on"

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection; with TLS its handshake is still to come."""
        try:
            accepted, address = self.socket.accept()
        except OSError as error:
            if error.errno in _NO_DESCRIPTORS:
                name = errno.errorcode[error.errno]
                print(f"accept returned {name} ({error.strerror})", file=sys.stderr, flush=True)
                time.sleep(_PAUSE_S)
            raise
        if self.tls is None:
            return accepted, address
        wrapped = self.tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        return wrapped, address

    def wait_for_handlers(self, grace_s: float) -> None:
        """Returns when nothing is under way any more; after the grace it is ended."""


class Handler(WSGIRequestHandler):
    """One connection with one request."""

    server: BlockingServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Does the handshake, where there is one."""
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def handle(self) -> None:
        """Reads the request, runs the application, and leaves nothing unread."""
        self.raw_requestline = self.rfile.readline(_LONGEST_LINE_BYTES + 1)
        if len(self.raw_requestline) > _LONGEST_LINE_BYTES:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
            return
        if not self.parse_request():  # it has answered with an error
            return
        if "Transfer-Encoding" in self.headers:
            self.send_error(411)
            return
        length = self.headers.get("Content-Length") or "0"
        if not (length.isascii() and length.isdigit()):
            self.send_error(400)
            return
        body = _Body(self.rfile, int(length))
        reader: Any = io.BufferedReader(body)
        run = _Run(reader, self.wfile, sys.stderr, self.get_environ(), self.server)
        run.request_handler = self
        application = self.server.get_app()
        assert application is not None
        run.run(application)
        while not run.broken and reader.read1(_LONGEST_LINE_BYTES):
            pass

    def get_environ(self) -> dict[str, Any]:
        """With the client's port, which PEP 3333 has no name for."""
        return {**super().get_environ(), "REMOTE_PORT": str(self.client_address[1])}

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps quiet: a line for each request would cost more than the request."""


class _Run(ServerHandler):
    """wsgiref's, for HTTP/1.1.

    Attributes:
        broken: the client went away, or the connection was shut down.
    """

    http_version = "1.1"
    request_handler: WSGIRequestHandler
    headers: Headers

    def __init__(self, body: Any, out: Any, err: Any, environ: Any, server: BlockingServer) -> None:
        super().__init__(
            body,
            out,
            err,
            environ,
            multithread=server.multithread,
            multiprocess=server.multiprocess,
        )
        self.broken = False

    def cleanup_headers(self) -> None:
        """Says that the connection ends with this answer."""
        super().cleanup_headers()
        self.headers["Connection"] = "close"

    def _write(self, data: bytes) -> None:
        try:
            super()._write(data)
        except OSError:
            self.broken = True
            raise

    def close(self) -> None:
        """Ends the answer; ServerHandler would log it."""
        SimpleHandler.close(self)


class _Body(io.RawIOBase):
    """The request's body: as many bytes of the connection as Content-Length says."""

    def __init__(self, connection: io.BufferedIOBase, left_bytes: int) -> None:
        self._connection = connection
        self._left_bytes = left_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._connection.read1(min(len(buffer), self._left_bytes))
        buffer[: len(data)] = data
        self._left_bytes -= len(data)
        return len(data)


def run_blocking(
    kind: type[BlockingServer],
    loaded: Loaded,
    config: ServerConfig,
    probes: ServerProbes,
    begin: Callable[[BlockingServer, Told], None] = lambda _server, _told: None,
) -> None:
    """Runs a server of that kind until it is told to stop.

    Args:
        kind: of server.
        loaded: the application; one for ASGI is run through `testbed.server.asgi_to_wsgi`.
        config: where and how.
        probes: of this process.
        begin: called when it listens.

    Raises:
        ProcessError: the address cannot be listened on, or the application's lifespan failed.
        MachineError: a buffer cannot be had.
        RequestError: standard input is no pipe.
    """
    told = Told()
    [listening] = listening_sockets(config)
    bridge = None if loaded.wsgi else AsgiToWsgi(probes.around(loaded.asgi), config)
    application: WsgiApplication = loaded.application if bridge is None else bridge
    if bridge is not None and not bridge.start(told):
        return
    grace_s = config.graceful_timeout_ns / NS_PER_S
    with kind(listening, config) as server:
        server.set_app(application)
        server.server_activate()
        print(f"Running on {url_of(listening, config)}", file=sys.stderr, flush=True)
        tell_ready(config, "WSGI" if loaded.wsgi else "ASGI")
        begin(server, told)
        while not told():
            server.handle_request()
            server.service_actions()
        server.wait_for_handlers(grace_s)
    if bridge is not None:
        bridge.stop()
