"""IPv4 and IPv6 addresses of one plan. Pure.

Rule: a topology's IPv4 address means the same place in an IPv6 network. 10.1.2.9/24 becomes
fd00:0:a01:200::9/64: `fd00:0:`, the 32 bits of its IPv4 network, and its number there.

Why: the same file runs over both, with the same places in the same order. The addresses are unique
local ones (RFC 4193), with a prefix that is not random: nothing of it leaves the sandbox. Every
segment has 64 bits for hosts (RFC 4291, 2.5.1). Two IPv4 networks that do not overlap have two
IPv6 networks that do not, and a prefix of n bits holds what one of 32 + n bits holds here.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Final, TypeAlias

from testbed.scenario.model import IpVersion

AnyInterface: TypeAlias = IPv4Interface | IPv6Interface
AnyNetwork: TypeAlias = IPv4Network | IPv6Network

LONGEST_PREFIX_BITS: Final[dict[IpVersion, int]] = {4: 30, 6: 126}
"""Two addresses for hosts are left."""
ALL_BITS: Final[dict[IpVersion, int]] = {4: 32, 6: 128}
_SPACE: Final = int(ipaddress.IPv6Address("fd00::"))
_HOST_BITS: Final = 64


def interface_in(version: IpVersion, address: AnyInterface) -> AnyInterface:
    """The address of an interface in the IP version of a run; one of that version stays.

    Raises:
        ValueError: an IPv6 address in an IPv4 run.
    """
    if address.version == version:
        return address
    network = network_in(version, address.network)
    number = int(address.ip) - int(address.network.network_address)
    host = IPv6Interface(int(network.network_address) + number)
    return IPv6Interface(f"{host.ip}/{_HOST_BITS}")


def network_in(version: IpVersion, network: AnyNetwork) -> AnyNetwork:
    """The network of a segment in the IP version of a run.

    Raises:
        ValueError: an IPv6 network in an IPv4 run.
    """
    if network.version == version:
        return network
    if version == 4:
        raise ValueError(f"expected IPv4 (got {network})")
    return IPv6Network((_SPACE + (int(network.network_address) << _HOST_BITS), _HOST_BITS))


def prefix_in(version: IpVersion, prefix: AnyNetwork) -> AnyNetwork:
    """The prefix of a route in the IP version of a run: it holds the same segments.

    Raises:
        ValueError: an IPv6 prefix in an IPv4 run.
    """
    if prefix.version == version:
        return prefix
    if prefix.prefixlen == 0 and version == 6:
        return IPv6Network("::/0")
    bits = 32 + prefix.prefixlen
    return IPv6Network((int(network_in(version, prefix).network_address), bits))
