"""Raw netlink dumps: the request is written here, the reply is only copied."""

from __future__ import annotations

import socket
import struct
from typing import Final

from testbed.scenario.model import IpVersion

_NLMSG_HEADER: Final = struct.Struct("=IHHII")
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLM_F_REQUEST_DUMP: Final = 0x1 | 0x100 | 0x200
"""include/uapi/linux/netlink.h"""

_NETLINK_ROUTE: Final = 0
_NETLINK_SOCK_DIAG: Final = 4
_RTM_GETQDISC: Final = 38
SOCK_DIAG_BY_FAMILY: Final = 20
_INET_DIAG_MEMINFO, _INET_DIAG_INFO, _INET_DIAG_CONG, _INET_DIAG_SKMEMINFO = 1, 2, 4, 7
_ALL_STATES: Final = 0xFFF
"""include/uapi/linux/inet_diag.h; states: include/net/tcp_states.h"""
_RECEIVE_BYTES: Final = 1 << 16


def _message(kind: int, body: bytes) -> bytes:
    length = _NLMSG_HEADER.size + len(body)
    return _NLMSG_HEADER.pack(length, kind, _NLM_F_REQUEST_DUMP, 1, 0) + body


def tcp_sockets_request(ip: IpVersion = 4) -> bytes:
    """A dump of all TCP sockets over `ip` with TCP_INFO, memory and congestion control."""
    family = socket.AF_INET if ip == 4 else socket.AF_INET6
    extensions = 0
    for extension in (_INET_DIAG_INFO, _INET_DIAG_CONG, _INET_DIAG_SKMEMINFO):
        extensions |= 1 << (extension - 1)
    body = struct.pack(
        "=BBBxI48x", family, socket.IPPROTO_TCP, extensions, _ALL_STATES
    )  # struct inet_diag_req_v2; an empty inet_diag_sockid matches all
    return _message(SOCK_DIAG_BY_FAMILY, body)


def qdiscs_request() -> bytes:
    """A dump of all qdiscs with their statistics (struct tcmsg)."""
    return _message(_RTM_GETQDISC, struct.pack("=BxxxiIII", socket.AF_UNSPEC, 0, 0, 0, 0))


class Dump:
    """A netlink socket of the calling thread's network namespace, for one kind of dump."""

    def __init__(self, request: bytes, *, diagnostics: bool) -> None:
        family = _NETLINK_SOCK_DIAG if diagnostics else _NETLINK_ROUTE
        self._request = request
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((0, 0))

    def read(self) -> bytes:
        """The whole reply, all its messages up to NLMSG_DONE.

        Raises:
            OSError: the kernel answered with an error, or the reply did not fit.
        """
        self._socket.send(self._request)
        reply = b""
        while True:
            part = self._socket.recv(_RECEIVE_BYTES)
            reply += part
            if _is_last(part):
                return reply


def _is_last(part: bytes) -> bool:
    position = 0
    while position + _NLMSG_HEADER.size <= len(part):
        length, kind, _, _, _ = _NLMSG_HEADER.unpack_from(part, position)
        if kind == _NLMSG_ERROR:
            (number,) = struct.unpack_from("=i", part, position + _NLMSG_HEADER.size)
            if number:
                raise OSError(-number, "netlink dump")
        if kind in (_NLMSG_ERROR, _NLMSG_DONE):
            return True
        position += (length + 3) & ~3
    return False
