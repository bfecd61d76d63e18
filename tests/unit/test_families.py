"""Rule: an IPv4 address of a topology has one place in IPv6, networks stay apart, and a route's
prefix holds the same segments.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, ip_interface, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from testbed.network.families import interface_in, network_in, prefix_in

ADDRESSES = st.integers(0, 2**32 - 1)


@st.composite
def networks(draw: st.DrawFn, longest: int = 30) -> IPv4Network:
    bits = draw(st.integers(0, longest))
    return IPv4Network((draw(ADDRESSES) >> (32 - bits) << (32 - bits), bits))


@pytest.mark.parametrize(
    ("four", "six"),
    [
        ("10.1.2.9/24", "fd00:0:a01:200::9/64"),
        ("10.0.0.1/8", "fd00:0:a00::1/64"),
        ("10.0.0.5/30", "fd00:0:a00:4::1/64"),
        ("192.168.7.1/24", "fd00:0:c0a8:700::1/64"),
    ],
)
def test_an_address_has_its_place(four: str, six: str) -> None:
    assert interface_in(6, ip_interface(four)) == ip_interface(six)
    assert interface_in(4, ip_interface(four)) == ip_interface(four)
    assert interface_in(6, ip_interface(six)) == ip_interface(six)


@pytest.mark.parametrize(
    ("four", "six"),
    [
        ("0.0.0.0/0", "::/0"),
        ("10.2.0.0/16", "fd00:0:a02::/48"),
        ("10.1.2.0/24", "fd00:0:a01:200::/56"),
        ("10.0.0.4/30", "fd00:0:a00:4::/62"),
        ("10.100.0.1/32", "fd00:0:a64:1::/64"),
    ],
)
def test_a_prefix_has_its_place(four: str, six: str) -> None:
    assert prefix_in(6, ip_network(four)) == ip_network(six)


@pytest.mark.parametrize("convert", [network_in, prefix_in])
def test_there_is_no_way_back(convert: object) -> None:
    with pytest.raises(ValueError, match="IPv4"):
        convert(4, ip_network("fd00::/64"))  # type: ignore[operator]


@given(networks(), networks())
def test_networks_that_do_not_overlap_do_not_in_ipv6(one: IPv4Network, other: IPv4Network) -> None:
    assume(not one.overlaps(other))
    assert not network_in(6, one).overlaps(network_in(6, other))


@given(networks(32), networks(), st.data())
def test_a_prefix_holds_the_addresses_of_the_same_segments(
    prefix: IPv4Network, segment: IPv4Network, data: st.DataObject
) -> None:
    assume(prefix.prefixlen <= segment.prefixlen)
    number = data.draw(st.integers(1, segment.num_addresses - 2))
    address = IPv4Interface((int(segment.network_address) + number, segment.prefixlen))
    held = interface_in(6, address).ip in prefix_in(6, prefix)
    assert held == (address.ip in prefix)
