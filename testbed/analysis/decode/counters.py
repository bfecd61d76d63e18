"""/proc/net text -> IpSample, TcpCounter and NicSample rows.

Forms: net/ipv4/proc.c (a line of names and a line of values, each after ``Group:``),
net/ipv6/proc.c (a name and a value in each line; TCP's counters are in the other, of both),
net/core/net-procfs.c (dev_seq_printf_stats).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl

from testbed.analysis.decode.samples import Samples
from testbed.analysis.decode.schema import from_structs
from testbed.events.ip import IpSample
from testbed.events.nic import NicSample
from testbed.events.tcp import TcpCounter

_TCP_GROUPS: Final = (b"Tcp:", b"TcpExt:")
_IP: Final = {
    "in_receives": "InReceives",
    "in_delivers": "InDelivers",
    "out_requests": "OutRequests",
    "forwarded": "ForwDatagrams",
    "in_discards": "InDiscards",
    "in_header_errors": "InHdrErrors",
    "in_address_errors": "InAddrErrors",
    "out_discards": "OutDiscards",
    "out_no_routes": "OutNoRoutes",
    "reassembly_fails": "ReasmFails",
}
_IP_EXTENSIONS: Final = {
    "in_checksum_errors": "InCsumErrors",
    "in_ce_packets": "InCEPkts",
    "in_octets": "InOctets",
    "out_octets": "OutOctets",
}


_IP6_NAMES: Final = {"forwarded": "OutForwDatagrams"}
"""Counters that IPv6 calls otherwise."""


def _groups(text: bytes) -> Iterator[tuple[bytes, list[bytes], list[bytes]]]:
    """Group, names and values of each pair of lines; ends where a line is cut."""
    lines = text.split(b"\n")
    for head, values in zip(lines[::2], lines[1::2], strict=False):
        names, numbers = head.split(), values.split()
        if not names or len(names) != len(numbers) or names[0] != numbers[0]:
            return
        yield names[0], names[1:], numbers[1:]


def decode_tcp_counters(snmp: Samples, netstat: Samples) -> pl.DataFrame:
    """Table of TcpCounter: of each counter its value at first, whenever it changed, and at last."""
    rows: list[TcpCounter] = []
    for samples in (snmp, netstat):
        last: dict[tuple[str, bytes], _Line] = {}
        for node, time, text in zip(
            samples.node, samples.t_ns.tolist(), samples.payload, strict=True
        ):
            for group, names, values in _groups(text):
                if group not in _TCP_GROUPS:
                    continue
                line = _Line(node, time, group, names, values)
                before = last.get((node, group))
                last[node, group] = line
                rows += line.rows(line.changed_since(before))
        for line in last.values():
            known = {row.counter for row in rows if row.node == line.node and row.t_ns == line.time}
            rows += [row for row in line.rows(range(len(line.values))) if row.counter not in known]
    return from_structs(TcpCounter, rows).sort("t_ns", "node", "counter", maintain_order=True)


@dataclass(frozen=True, slots=True)
class _Line:
    """One group of counters at one time."""

    node: str
    time: int
    group: bytes
    names: list[bytes]
    values: list[bytes]

    def changed_since(self, before: _Line | None) -> Iterable[int]:
        """Places of the values that differ, all of them where nothing was before."""
        if before is None or len(before.values) != len(self.values):
            return range(len(self.values))
        if before.values == self.values:
            return ()
        pairs = zip(before.values, self.values, strict=True)
        return [place for place, (old, new) in enumerate(pairs) if old != new]

    def rows(self, places: Iterable[int]) -> list[TcpCounter]:
        """The counters at these places; what is no number is left out."""
        prefix = self.group.decode().replace(":", ".")
        return [
            TcpCounter(
                t_ns=self.time,
                node=self.node,
                counter=prefix + self.names[place].decode("ascii", "replace"),
                value=int(self.values[place]),
            )
            for place in places
            if self.values[place].lstrip(b"-").isdigit()
        ]


def decode_ip(snmp: Samples, netstat: Samples, snmp6: Samples | None = None) -> pl.DataFrame:
    """Table of IpSample: Ip of each snmp frame, IpExt of the netstat frame read with it.

    Where snmp6 was read the run was one over IPv6, and it says all.
    """
    if snmp6 is not None and snmp6.node:
        return from_structs(IpSample, list(_ip6_rows(snmp6)))
    extensions: dict[str, list[dict[str, int]]] = {}
    for node, text in zip(netstat.node, netstat.payload, strict=True):
        extensions.setdefault(node, []).append(_numbers(text, b"IpExt:"))
    seen: dict[str, int] = {}
    rows = []
    for node, time, text in zip(snmp.node, snmp.t_ns.tolist(), snmp.payload, strict=True):
        place = seen.get(node, 0)
        seen[node] = place + 1
        ip = _numbers(text, b"Ip:")
        more = extensions.get(node, [])
        extension = more[place] if place < len(more) else {}
        if not all(name in ip for name in _IP.values()):
            continue
        known = {field: ip[name] for field, name in _IP.items()}
        optional = {field: extension.get(name) for field, name in _IP_EXTENSIONS.items()}
        rows.append(msgspec.convert({"t_ns": time, "node": node, **known, **optional}, IpSample))
    return from_structs(IpSample, rows)


def _ip6_rows(snmp6: Samples) -> Iterator[IpSample]:
    for node, time, text in zip(snmp6.node, snmp6.t_ns.tolist(), snmp6.payload, strict=True):
        ip = _ip6_numbers(text)
        known = {field: ip.get(_IP6_NAMES.get(field, name)) for field, name in _IP.items()}
        if None in known.values():
            continue
        optional = {field: ip.get(name) for field, name in _IP_EXTENSIONS.items()}
        yield msgspec.convert({"t_ns": time, "node": node, **known, **optional}, IpSample)


def _ip6_numbers(text: bytes) -> dict[str, int]:
    """The counters of IPv6 itself, without the ``Ip6`` before each name."""
    found = {}
    for line in text.splitlines():
        match line.decode("ascii", "replace").split():
            case [name, value] if name.startswith("Ip6") and value.isdecimal():
                found[name.removeprefix("Ip6")] = int(value)
    return found


def _numbers(text: bytes, wanted: bytes) -> dict[str, int]:
    for group, names, values in _groups(text):
        if group == wanted:
            try:
                return {
                    n.decode("ascii", "replace"): int(v) for n, v in zip(names, values, strict=True)
                }
            except ValueError:
                return {}
    return {}


def decode_nic(dev: Samples) -> pl.DataFrame:
    """Table of NicSample, from /proc/net/dev: eight counters received, eight sent."""
    rows = []
    for node, time, text in zip(dev.node, dev.t_ns.tolist(), dev.payload, strict=True):
        for line in text.split(b"\n")[2:]:
            name, colon, rest = line.partition(b":")
            try:
                numbers = [int(value) for value in rest.split()]
            except ValueError:
                continue
            if not colon or len(numbers) < 16:
                continue
            rows.append(
                NicSample(
                    t_ns=time,
                    node=node,
                    interface=name.strip().decode("utf-8", "replace"),
                    rx_bytes=numbers[0],
                    rx_packets=numbers[1],
                    rx_errors=numbers[2],
                    rx_dropped=numbers[3],
                    tx_bytes=numbers[8],
                    tx_packets=numbers[9],
                    tx_errors=numbers[10],
                    tx_dropped=numbers[11],
                )
            )
    return from_structs(NicSample, rows)
