"""Rule: a server's key is its own, and a client believes it for its names and for nothing else."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from testbed.live.certificates import Certificates
from testbed.load.trust import trusting


@contextmanager
def answering(descriptor: int) -> Iterator[socket.socket]:
    """A client's end of a connection whose other end does a server's handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = f"/proc/self/fd/{descriptor}"
    context.load_cert_chain(path, path)
    mine, theirs = socket.socketpair()
    mine.settimeout(20)
    theirs.settimeout(20)

    def answer() -> None:
        with suppress(OSError), context.wrap_socket(theirs, server_side=True) as encrypted:
            encrypted.recv(1)

    server = threading.Thread(target=answer)
    server.start()
    try:
        with mine:
            yield mine
    finally:
        server.join()
        theirs.close()


def test_a_key_is_in_no_folder_and_for_its_owner_alone() -> None:
    descriptor = Certificates().issue(["server"], None)
    found = os.fstat(descriptor)
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_nlink == 0
    assert found.st_uid == os.geteuid()
    assert not os.get_inheritable(descriptor)
    assert b"PRIVATE KEY" in os.pread(descriptor, 1 << 16, 0)
    os.close(descriptor)


def test_what_clients_are_given_holds_no_key() -> None:
    pem = Certificates().ca_pem
    assert pem.count("BEGIN") == pem.count("BEGIN CERTIFICATE") == 1


@pytest.mark.parametrize("name", ["server", "10.0.1.1"])
def test_a_client_believes_the_server_for_its_names(name: str) -> None:
    run = Certificates()
    descriptor = run.issue(["server", "10.0.1.1"], None)
    with answering(descriptor) as connection:
        run.greet(connection, name)
    with (
        answering(descriptor) as connection,
        trusting(run.ca_pem).wrap_socket(connection, server_hostname=name) as encrypted,
    ):
        assert encrypted.version() == "TLSv1.3"
    os.close(descriptor)


def test_a_node_whose_name_no_host_can_have_is_believed_by_its_address() -> None:
    run = Certificates()
    descriptor = run.issue(["h2_0_0", "fd00:0:a02::1"], None)
    with answering(descriptor) as connection:
        run.greet(connection, "fd00:0:a02::1")
    os.close(descriptor)


@pytest.mark.parametrize("name", ["client", "10.0.1.2"])
def test_a_client_does_not_believe_it_for_another_name(name: str) -> None:
    run = Certificates()
    descriptor = run.issue(["server", "10.0.1.1"], None)
    with answering(descriptor) as connection, pytest.raises(ssl.SSLCertVerificationError):
        run.greet(connection, name)
    os.close(descriptor)


def test_a_client_does_not_believe_another_runs_authority() -> None:
    descriptor = Certificates().issue(["server"], None)
    with (
        answering(descriptor) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
        trusting(Certificates().ca_pem).wrap_socket(connection, server_hostname="server"),
    ):
        pass
    os.close(descriptor)
