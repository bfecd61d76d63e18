"""What a client believes of a server: the certificates of one authority, and nothing else.

The machine's own authorities are not asked, so that a run depends on nothing but itself; the
server's name is checked (RFC 9525), its version is TLS 1.2 at least, as httpx has it.
"""

from __future__ import annotations

import ssl


def trusting(ca_pem: str) -> ssl.SSLContext:
    """A client's context that verifies certificates against one authority.

    Raises:
        ssl.SSLError: it is no certificate in PEM.
    """
    return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=ca_pem)
