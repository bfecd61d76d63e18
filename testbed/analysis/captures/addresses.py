"""IP addresses as 64-bit keys: a column of numbers for IPv4 and IPv6 alike.

An IPv4 address is its own number (below 2**32). An IPv6 address is a mix of its two halves with the
highest bit set: the few addresses of a run do not collide, and the text comes from the manifest,
which knows them all.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_IPV6: Final = np.uint64(1 << 63)


def ipv6_keys(octets: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Keys of IPv6 addresses, shape (addresses, 16)."""
    halves = np.ascontiguousarray(octets).view(">u8").astype(np.uint64)
    return (halves[:, 0] * _MIX ^ halves[:, 1]) | _IPV6


@lru_cache(maxsize=4096)
def key(text: str) -> int:
    """The key of an address in text form, with or without a prefix length."""
    address = ipaddress.ip_interface(text).ip
    if address.version == 4:
        return int(address)
    return int(ipv6_keys(np.frombuffer(address.packed, np.uint8).reshape(1, 16))[0])


def text(key_: int, known: dict[int, str]) -> str:
    """The address of a key; of an IPv6 address that is not in `known`, the key itself."""
    if key_ < 1 << 32:
        return str(ipaddress.IPv4Address(key_))
    return known.get(key_, f"ipv6#{key_ & 0xFFFFFFFF:08x}")
