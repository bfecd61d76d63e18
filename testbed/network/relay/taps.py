"""Opens TAP devices that exist in the namespaces of nodes."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Final

from testbed.errors import RunError
from testbed.network.counters import TX_DROPPED, counter
from testbed.sandbox.netns import of_node, visiting

_TUNSETIFF: Final = 0x400454CA
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
"""include/uapi/linux/if_tun.h"""


def open_tap(node: str, interface: str) -> int:
    """A non-blocking descriptor on `interface` of `node`; a read or a write is one frame.

    Raises:
        RunError: there is no such namespace, or the device cannot be opened.
    """
    try:
        with visiting(of_node(node)):
            tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            request = struct.pack("16sH22x", interface.encode(), _IFF_TAP | _IFF_NO_PI)
            fcntl.ioctl(tap, _TUNSETIFF, request)
    except OSError as error:
        raise RunError(
            f"cannot open the TAP device {interface} of {node}: {error}",
            where=f"{node} {interface}",
        ) from error
    return tap


def dropped_by_ring(node: str, interface: str) -> int:
    """Frames that the TAP device dropped because nobody took them in time; the emulator's overflow.

    tun(4) counts what finds its ring full as dropped on sending (drivers/net/tun.c, tun_net_xmit).

    Raises:
        RunError: the device is gone.
    """
    return counter(node, interface, TX_DROPPED)
