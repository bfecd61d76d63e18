"""Offloads of interfaces, off and read back, by ioctl (SIOCETHTOOL, include/uapi/linux/ethtool.h).

Not by ethtool, which would be two processes for each interface; `commands.sh` has the line of
ethtool that does the same. What ethtool calls ``tso`` is a group of the kernel's features, known
by their names: kernels get new ones (tx-tcp-accecn-segmentation in 6.18), which the older requests
of one bit, such as ETHTOOL_STSO, leave on.
"""

from __future__ import annotations

import array
import fcntl
import fnmatch
import socket
import struct
from collections.abc import Sequence
from typing import Final

from testbed.errors import ReadBackError, RunError
from testbed.network.tools import Toolbox

OFFLOADS: Final = {
    "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload",
    "gro": "generic-receive-offload",
    "tx": "tx-checksumming",
}
"""What is turned off, ethtool's short name and the name it reads back with; tx, so that checksums
are real ones.
"""
_FEATURES: Final = {
    "tso": "tx-tcp*-segmentation",
    "gso": "tx-generic-segmentation",
    "gro": "rx-gro",
    "tx": "tx-checksum-*",
    "sg": "tx-scatter-gather*",
}
"""ethtool's short names, and the kernel's names of what they mean (ethtool.c, off_flag_def)."""
_SIOCETHTOOL: Final = 0x8946
_GSTRINGS: Final = 0x1B
_GSSET_INFO: Final = 0x37
_GFEATURES: Final = 0x3A
_SFEATURES: Final = 0x3B
_SS_FEATURES: Final = 4
_NAME_BYTES: Final = 32
_FIELDS: Final = 4
"""of struct ethtool_get_features_block: available, requested, active, never_changed."""


def switch_off(
    tools: Toolbox, devices: Sequence[str], *, node: str = "", names: Sequence[str] = ()
) -> dict[str, dict[str, bool]]:
    """Turns offloads of `devices` off and reads them back; for a thread in their namespace.

    Args:
        tools: remembers it.
        devices: interfaces in the calling thread's network namespace.
        node: whose namespace that is, for `commands.sh`; empty: the sandbox's own.
        names: ethtool's short names; all of `OFFLOADS` without any.

    Returns:
        Of each device what it reads back, by ethtool's short names.

    Raises:
        RunError: the kernel refused.
        ReadBackError: one is still on.
    """
    names = tuple(names) or tuple(OFFLOADS)
    inside = ["ip", "netns", "exec", node] if node else []
    words = [word for name in names for word in (name, "off")]
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        for device in devices:
            tools.remember([*inside, "ethtool", "-K", device, *words])
            found[device] = _switch_off(_Device(asked, device), names)
    return found


def _switch_off(device: _Device, names: Sequence[str]) -> dict[str, bool]:
    bits = _bits_by_offload(device.feature_names())
    device.set_off({bit for name in names for bit in bits[name]})
    active = device.active()
    found = {name: bool(active & bits[name]) for name in names}
    for name, is_on in found.items():
        if is_on:
            raise ReadBackError(
                f"{device.name}: {OFFLOADS.get(name, name)} was set to off and reads back as on",
                where=device.name,
                wanted="off",
                got="on",
            )
    return found


def _bits_by_offload(features: Sequence[str]) -> dict[str, set[int]]:
    """The numbers of the kernel's features that each of ethtool's short names means."""
    return {
        name: {bit for bit, one in enumerate(features) if fnmatch.fnmatchcase(one, pattern)}
        for name, pattern in _FEATURES.items()
    }


class _Device:
    """The features of one interface."""

    def __init__(self, asked: socket.socket, name: str) -> None:
        self._asked = asked
        self.name = name

    def feature_names(self) -> list[str]:
        """The kernel's names, by their number."""
        info = self._ask(struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SS_FEATURES, 0))
        count = struct.unpack_from("=I", info, 16)[0]
        head = struct.pack("=III", _GSTRINGS, _SS_FEATURES, count)
        text = self._ask(head + bytes(count * _NAME_BYTES))[len(head) :]
        names = (text[at : at + _NAME_BYTES] for at in range(0, len(text), _NAME_BYTES))
        self._blocks = (count + 31) // 32
        return [name.split(b"\0", 1)[0].decode("ascii") for name in names]

    def set_off(self, bits: set[int]) -> None:
        """Asks for those of `bits` to be off that can be changed."""
        words = []
        for block in range(self._blocks):
            mask = sum(1 << bit - 32 * block for bit in bits if bit // 32 == block)
            words += [mask & self._features()[block * _FIELDS], 0]  # valid, requested
        self._ask(struct.pack(f"=II{len(words)}I", _SFEATURES, self._blocks, *words))

    def active(self) -> set[int]:
        """The numbers of the features that are on."""
        words = self._features()
        return {
            32 * block + bit
            for block in range(self._blocks)
            for bit in range(32)
            if words[block * _FIELDS + 2] >> bit & 1
        }

    def _features(self) -> tuple[int, ...]:
        head = struct.pack("=II", _GFEATURES, self._blocks)
        words = self._blocks * _FIELDS
        return struct.unpack(f"={words}I", self._ask(head + bytes(4 * words))[len(head) :])

    def _ask(self, request: bytes) -> bytes:
        """One ETHTOOL request; returns what the kernel wrote over it."""
        buffer = array.array("B", request)
        address, _ = buffer.buffer_info()
        try:
            fcntl.ioctl(
                self._asked, _SIOCETHTOOL, struct.pack("16sP16x", self.name.encode(), address)
            )
        except OSError as error:
            raise RunError(
                f"{self.name}: its offloads cannot be set: {error}", where=self.name
            ) from error
        return buffer.tobytes()
