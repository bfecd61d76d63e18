"""Two nodes' ends of a veth pair, traced: `python -m tests.support.trace_lab CONFIG_JSON` in a
sandbox, as root.

    v0 (the namespace of this process) -- v1 (the same one's; it receives what v0 sends)

It drops 23 packets at a full queue, sends 23 segments with a bad checksum, 23 packets with a bad
header or 23 frames for somebody else, or sends so much that the rings overflow. What the kernel
itself counted is printed as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from testbed.network.tools import find_tool
from testbed.probes.tracepoints import TracedProcess, Tracer, TracerConfig
from testbed.sandbox.namespaces import outer_ids

PORT: Final = 8000
COUNT: Final = 23
MACS: Final = ("02:00:00:00:00:01", "02:00:00:00:00:02")
_ETHERNET: Final = struct.Struct("!6s6sH")


def run(*argv: str) -> str:
    done = subprocess.run([find_tool(argv[0]), *argv[1:]], capture_output=True, check=True)
    return done.stdout.decode()


def build() -> None:
    """The pair, quiet: no IPv6, no ARP."""
    run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    run("ip", "link", "add", "v0", "address", MACS[0], "type", "veth", "peer", "name", "v1")
    run("ip", "link", "set", "v1", "address", MACS[1])
    for name in ("v0", "v1"):
        run(
            "ethtool",
            "-K",
            name,
            "tx",
            "off",
            "rx",
            "off",
            "gso",
            "off",
            "tso",
            "off",
            "gro",
            "off",
        )
        run("ip", "link", "set", name, "up")
    run("ip", "address", "add", "10.0.0.2/24", "dev", "v1")
    run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.v1.rp_filter=0")


def frame(payload: bytes, *, good: bool, good_header: bool = True, mac: str = MACS[1]) -> bytes:
    """A TCP segment from 10.0.0.1 to 10.0.0.2, in Ethernet.

    Args:
        payload: of it.
        good: whether TCP's checksum is right.
        good_header: whether IP's is.
        mac: whom the frame is for.
    """
    source, target = socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2")
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 1, 0, 64, 6, 0, source, target)
    ip = ip[:10] + struct.pack("!H", checksum(ip) ^ (0 if good_header else 0x5555)) + ip[12:]
    tcp = struct.pack("!HHIIBBHHH", 40000, PORT, 1, 1, 0x50, 0x10, 1000, 0, 0) + payload
    pseudo = source + target + struct.pack("!BBH", 0, 6, len(tcp))
    right = checksum(pseudo + tcp)
    tcp = tcp[:16] + struct.pack("!H", right if good else right ^ 0x5555) + tcp[18:]
    target_mac, source_mac = (bytes.fromhex(text.replace(":", "")) for text in (mac, MACS[0]))
    return _ETHERNET.pack(target_mac, source_mac, 0x0800) + ip + tcp


def checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def sender() -> Callable[[bytes], object]:
    """What puts a frame into v0."""
    outlet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    outlet.bind(("v0", 0))
    return outlet.send


def full_queue() -> dict[str, int]:
    """Sends until tc has counted 23 drops of a queue of five packets that nothing leaves."""
    for command in (
        "tc qdisc add dev v0 root handle 1: htb default 1",
        "tc class add dev v0 parent 1: classid 1:1 htb rate 1kbit burst 1b quantum 1500",
        "tc qdisc add dev v0 parent 1:1 handle 10: pfifo limit 5",
    ):
        run(*command.split())
    send, dropped = sender(), 0
    while dropped < COUNT:
        try:
            send(frame(bytes(1000), good=True))
        except OSError as error:  # ENOBUFS: the queue said that it dropped it
            print(error, file=sys.stderr)
        found = json.loads(run("tc", "-s", "-j", "qdisc", "show", "dev", "v0"))
        dropped = next(int(q["drops"]) for q in found if q["kind"] == "pfifo")
    return {"dropped": dropped}


def bad_checksums() -> dict[str, int]:
    """Sends 23 segments that TCP throws away, and 5 that it answers."""
    send = sender()
    for number in range(COUNT + 5):
        send(frame(b"x", good=number >= COUNT))
    return {"counted": counter("Tcp:", "InCsumErrors")}


def bad_headers() -> dict[str, int]:
    """Sends 23 packets that IP throws away, and 5 that it hands on."""
    send = sender()
    for number in range(COUNT + 5):
        send(frame(b"x", good=True, good_header=number >= COUNT))
    return {"counted": counter("Ip:", "InHdrErrors")}


def others() -> dict[str, int]:
    """Sends 23 frames that are for another MAC address, and 5 that are not."""
    send = sender()
    for number in range(COUNT + 5):
        send(frame(b"x", good=True, mac=MACS[1] if number >= COUNT else "02:00:00:00:00:77"))
    return {}


def flood() -> dict[str, int]:
    """Sends more than the smallest ring can hold."""
    send = sender()
    for _ in range(3000):
        send(frame(b"x", good=False))
    return {}


def counter(group: str, name: str) -> int:
    with Path("/proc/self/net/snmp").open(encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith(group))
    return int(values[names.index(name)])


def main(told: dict[str, Any]) -> None:
    """Traces one of these while it happens."""
    build()
    segment = os.open(told["segment"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    this = TracedProcess(outer_id=outer_ids()[os.getpid()], name="lab", kind="server", node="v0")
    tracer = Tracer(
        TracerConfig(
            instance=told["instance"],
            interfaces=["v0", "v1"],
            processes=[this],
            port=PORT,
            segment_fd=segment,
            ring_kib=told.get("ring_kib", 8192),
        )
    )
    tracer.start()
    does: dict[str, Callable[[], dict[str, int]]] = {
        one.__name__: one for one in (full_queue, bad_checksums, bad_headers, others, flood)
    }
    counts = does[told["does"]]()
    read, write = os.pipe()
    os.close(write)
    tracer.run(read)
    stats = tracer.close()
    print(json.dumps({**counts, "missing": tracer.missing, "stats": stats}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
