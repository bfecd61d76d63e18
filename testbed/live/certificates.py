"""Certificates of one run.

Rules:

- The authority is made for the run and forgotten with it: only its certificate, which is public,
  leaves this process, and no key is ever in a file system or in the recording.
- A server's key is in memory (memfd_create(2)), mode 0600, owned by whom the server runs as, and
  handed to the server process alone, as a descriptor. The kernel frees it with the last process
  that has it open, however the run ends.
- A certificate names what clients connect to: the server's addresses, and its node's name where
  that can be a host's (RFC 1123, 2.1): ``h2_0_0`` cannot.

Why not from the seed: keys from a known seed are known keys, and nothing that is measured depends
on their bits. With ECDSA and P-256, trustme's own choice, the server's flight is one segment (937
bytes with TLS 1.3).
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Sequence
from typing import Final

import trustme

_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)


class Certificates:
    """The authority of a run.

    Attributes:
        ca_pem: its certificate, which clients verify with.
    """

    def __init__(self) -> None:
        self._authority = trustme.CA(organization_name="asgi-testbed")
        self.ca_pem = self._authority.cert_pem.bytes().decode("ascii")

    def greet(self, connection: socket.socket, name: str) -> None:
        """Does a handshake as a client that verifies, and closes the connection.

        Args:
            connection: with a server.
            name: of the server.

        Raises:
            OSError: it failed; ssl.SSLError is one.
        """
        context = ssl.create_default_context(cadata=self.ca_pem)
        # In TLS 1.2 the server has the last word of the handshake. In 1.3 its session tickets would
        # come to a socket that is closed, and the kernel's RST is in the counters of the host.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET
        with context.wrap_socket(connection, server_hostname=name):
            pass

    def issue(self, names: Sequence[str], owner: int | None) -> int:
        """A new key with its certificates; returns the descriptor of a file with both, PEM.

        Args:
            names: of the server: nodes' names and addresses.
            owner: user and group that may open the file again; None: whoever this process is.

        Raises:
            OSError: there is no memory, or the owner cannot be changed.
        """
        fitting = [name for name in names if _is_address(name) or _HOST.fullmatch(name)]
        pem = self._authority.issue_cert(*fitting).private_key_and_cert_chain_pem.bytes()
        descriptor = os.memfd_create("tls-key", os.MFD_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o600)
            if owner is not None:
                os.fchown(descriptor, owner, owner)
            os.write(descriptor, pem)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
