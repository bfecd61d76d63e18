from __future__ import annotations

import random
import shutil
import struct
import subprocess
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.analysis.captures import Capture, addresses, read_capture
from testbed.analysis.captures.digests import digests
from testbed.errors import RecordingError
from tests.builders import frames as f
from tests.builders.captures import columns
from tests.builders.pcapng import Interface, Packet, packet_block, pcapng, section

A, B = "02:00:00:00:01:01", "02:00:00:00:01:02"
ONE = [Interface("eth0", snaplen=0)]


def segment(number: int, payload: int = 100, **changes: object) -> bytes:
    tcp = f.tcp(1000, 80, 5000 + number * payload, 77, payload=b"x" * payload, **changes)  # type: ignore[arg-type]
    return f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.1.1", 6, tcp, identification=number))


def write(folder: Path, data: bytes) -> Path:
    path = folder / "node.pcapng"
    path.write_bytes(data)
    return path


def test_a_whole_file_gives_a_row_per_packet_and_the_drops_of_each_interface(
    tmp_path: Path,
) -> None:
    interfaces = [Interface("r1-eth0", dropped=0), Interface("r1-eth1", received=30, dropped=23)]
    packets = [Packet(10**18 + n, segment(n, 400), n % 2) for n in range(23)]
    capture = read_capture(write(tmp_path, pcapng(interfaces, packets)))
    assert capture.damage == []
    assert [(i.name, i.snaplen_bytes) for i in capture.interfaces] == [
        ("r1-eth0", 160),
        ("r1-eth1", 160),
    ]
    assert [i.dropped_packets for i in capture.interfaces] == [0, 23]
    assert capture.interfaces[1].received_packets == 30
    found = capture.packets
    assert found.count == 23
    assert found.t_ns.tolist() == [10**18 + n for n in range(23)]
    assert found.interface.tolist() == [n % 2 for n in range(23)]
    assert set(found.size.tolist()) == {14 + 20 + 20 + 400}
    assert set(found.captured.tolist()) == {160}
    assert found.ip_id.tolist() == list(range(23))


@given(
    kept=st.lists(st.integers(0, 200), min_size=1, max_size=30),
    alike=st.integers(0, 128),
    seed=st.integers(0, 2**32 - 1),
)
def test_digests_by_tables_are_those_of_zlib(kept: list[int], alike: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(0, 256, (len(kept), 128), dtype=np.uint8)
    rows[:, :alike] = rows[0, :alike]
    for row, size in zip(rows, kept, strict=True):
        row[size:] = 0
    wanted = [zlib.crc32(row[:size].tobytes()) for row, size in zip(rows, kept, strict=True)]
    assert digests(rows, np.array(kept, np.uint32)).tolist() == wanted


def test_the_digest_is_the_crc_of_the_first_128_bytes_as_in_the_relays_log(tmp_path: Path) -> None:
    packets = [segment(0, 0), segment(1, 74), segment(2, 75), segment(3, 1400)]
    found = columns(tmp_path, packets)
    assert found.digest.tolist() == [zlib.crc32(frame[:128]) for frame in packets]


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_both_byte_orders_give_the_same_columns(tmp_path: Path, order: str) -> None:
    interfaces = [Interface("a-interface", offset_s=5, received=24, dropped=1)]
    packets = [Packet(7 * 10**9 + n, segment(n, 33)) for n in range(23)]
    capture = read_capture(write(tmp_path, pcapng(interfaces, packets, order)))
    assert capture.packets.t_ns.tolist() == [12 * 10**9 + n for n in range(23)]
    assert capture.packets.digest.tolist() == [zlib.crc32(p.frame[:128]) for p in packets]
    assert capture.packets.sequence.tolist() == [5000 + 33 * n for n in range(23)]
    assert capture.interfaces[0].name == "a-interface"
    assert capture.interfaces[0].received_packets == 24
    assert capture.interfaces[0].dropped_packets == 1


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected_ns"),
    [
        pytest.param(None, 1_500_000, 1_500_000_000, id="microseconds when not said"),
        pytest.param(3, 1_500, 1_500_000_000, id="milliseconds"),
        pytest.param(9, 1_500_000_001, 1_500_000_001, id="nanoseconds"),
        pytest.param(12, 1_500_000_001_999, 1_500_000_001, id="picoseconds"),
        pytest.param(0x80 | 10, 1536, 1_500_000_000, id="2**-10 s"),
    ],
)
def test_stamps_have_their_interfaces_resolution(
    tmp_path: Path, resolution: int | None, ticks: int, expected_ns: int
) -> None:
    interfaces = [Interface("other", resolution=6), Interface("this", resolution=resolution)]
    data = pcapng(interfaces, [Packet(2, b"x" * 60, 0), Packet(ticks, b"x" * 60, 1)])
    found = read_capture(write(tmp_path, data)).packets
    assert found.t_ns.tolist() == [2000, expected_ns]


def test_a_second_section_counts_its_interfaces_anew(tmp_path: Path) -> None:
    one = pcapng([Interface("a"), Interface("b")], [Packet(1, segment(1), 1)])
    two = pcapng([Interface("c", dropped=7)], [Packet(2, segment(2), 0)])
    capture = read_capture(write(tmp_path, one + two))
    assert [i.name for i in capture.interfaces] == ["a", "b", "c"]
    assert capture.packets.interface.tolist() == [1, 2]
    assert [i.dropped_packets for i in capture.interfaces] == [0, 0, 7]


def test_tcp_fields(tmp_path: Path) -> None:
    options = f.timestamps(4_000_000_000, 17)
    tcp = f.tcp(
        65535,
        80,
        2**32 - 1,
        2**31,
        flags=f.PSH | f.ACK,
        window=1234,
        options=options,
        payload=b"hello",
    )
    ip = f.ipv4("10.1.2.3", "192.168.255.254", 6, tcp, identification=65535, ttl=63)
    capture = read_capture(write(tmp_path, pcapng(ONE, [Packet(0, f.ethernet(A, B, 0x0800, ip))])))
    assert capture.source_mac.tolist() == [0x020000000101]
    found = capture.packets
    expected = {
        "size": 14 + 20 + 32 + 5,
        "ethertype": 0x0800,
        "ip_id": 65535,
        "ttl": 63,
        "protocol": 6,
        "source": addresses.key("10.1.2.3"),
        "destination": addresses.key("192.168.255.254/24"),
        "source_port": 65535,
        "destination_port": 80,
        "sequence": 2**32 - 1,
        "acknowledgement": 2**31,
        "flags": f.PSH | f.ACK,
        "window": 1234,
        "payload": 5,
        "timestamp": 4_000_000_000,
        "timestamp_echo": 17,
        "sack_blocks": 0,
    }
    assert {name: int(getattr(found, name)[0]) for name in expected} == expected


def test_packets_of_one_kind_are_decoded_as_among_others(tmp_path: Path) -> None:
    tcp = f.tcp(1, 2, 3, 4, options=f.timestamps(5, 6), payload=b"abc")
    syn = f.tcp(1, 2, 3, options=b"\2\4\5\xb4" + f.timestamps(7, 8), flags=f.SYN)
    sack = f.tcp(2, 1, 9, 10, options=f.timestamps(5, 6) + b"\1\1\5\x0a" + bytes(range(8)))
    frames = [
        f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.0.2", 6, tcp)),
        f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.0.2", 6, syn)),
        f.ethernet(B, A, 0x0800, f.ipv4("10.0.0.2", "10.0.0.1", 6, sack, options=b"\1" * 8)),
        f.ethernet(A, B, 0x86DD, f.ipv6("fd00::1", "fd00::2", 6, tcp)),
        f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.0.2", 17, f.udp(5, 6, b"abcd"))),
        f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.0.2", 1, f.icmp(8, 0, b"ping"))),
        f.ethernet(A, B, 0x0806, b"\0" * 28),
    ]
    together = read_capture(write(tmp_path, pcapng(ONE, [Packet(0, one) for one in frames])))
    for place, frame in enumerate(frames):
        alone = read_capture(write(tmp_path, pcapng(ONE, [Packet(0, frame)] * 3)))
        assert alone.source_mac.tolist() == [together.source_mac[place]] * 3
        for column in fields(alone.packets):
            expected = [getattr(together.packets, column.name)[place]] * 3
            assert getattr(alone.packets, column.name).tolist() == expected, (place, column.name)


def test_ip_options_ipv6_udp_icmp_and_fragments(tmp_path: Path) -> None:
    tcp = f.tcp(1, 2, 3, payload=b"abc")
    found = columns(
        tmp_path,
        [
            f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.0.2", 6, tcp, options=b"\1" * 8)),
            f.ethernet(A, B, 0x86DD, f.ipv6("fd00::1", "fd00::2", 6, tcp)),
            f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.0.2", 17, f.udp(5, 6, b"abcd"))),
            f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.0.2", 1, f.icmp(8, 0, b"ping"))),
            f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.0.2", 6, b"y" * 40, fragment=100)),
            f.ethernet(A, B, 0x0806, b"\0" * 28),
        ],
    )
    assert found.protocol.tolist() == [6, 6, 17, 1, 0, 0]
    assert found.source_port.tolist() == [1, 1, 5, 8, 0, 0]
    assert found.destination_port.tolist() == [2, 2, 6, 0, 0, 0]
    assert found.sequence.tolist() == [3, 3, 0, 0, 0, 0]
    assert found.payload.tolist() == [3, 3, 4, 0, 0, 0]
    assert int(found.source[1]) == addresses.key("fd00::1/64")
    assert addresses.text(int(found.source[1]), {addresses.key("fd00::1"): "fd00::1"}) == "fd00::1"
    assert addresses.text(int(found.source[0]), {}) == "10.0.0.1"
    assert found.source[5] == 0


def test_sack_and_dsack(tmp_path: Path) -> None:
    """RFC 2883: a first block below the acknowledgement or in the second reports a duplicate."""

    def ack(*blocks: tuple[int, int], number: int = 5000) -> bytes:
        tcp = f.tcp(1, 2, 3, number, options=f.timestamps(9, 8) + f.sack(*blocks))
        return f.ethernet(A, B, 0x0800, f.ipv4("10.0.0.1", "10.0.0.2", 6, tcp))

    wrapped = ack((2**32 - 100, 2**32 - 50), number=10)
    found = columns(
        tmp_path,
        [
            segment(0),
            ack((6000, 7000)),
            ack((4000, 5000)),
            ack((6000, 6500), (6000, 7000)),
            ack((8000, 9000), (6000, 7000), (9500, 9900)),
            wrapped,
        ],
    )
    assert found.sack_blocks.tolist() == [0, 1, 1, 2, 3, 1]
    assert found.dsack.tolist() == [False, False, True, True, False, True]
    assert found.timestamp.tolist() == [0, 9, 9, 9, 9, 9]


def test_headers_that_were_not_captured_whole_leave_zeros(tmp_path: Path) -> None:
    frame = segment(7, 10, options=f.timestamps(1, 2))
    for kept in range(len(frame)):
        path = tmp_path / "short.pcapng"
        data = pcapng([Interface("a", snaplen=0)], [Packet(1, frame[:kept], size=len(frame))])
        path.write_bytes(data)
        found = read_capture(path).packets
        assert found.digest[0] == zlib.crc32(frame[:kept][:128])
        assert bool(found.ip_id[0]) == (kept >= 34)
        assert bool(found.sequence[0]) == (kept >= 54)


def test_no_file_and_foreign_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot read"):
        read_capture(tmp_path / "absent.pcapng")
    for content, what in (
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 160, 1) + b"\0" * 40, "a pcap file"),
        (b"\x7fELF" + b"\0" * 60, "0x464c457f"),
        (section()[:8] + b"wrong!!!" + b"\0" * 40, "byte-order"),
    ):
        with pytest.raises(RecordingError, match=what):
            read_capture(write(tmp_path, content))
    wifi = pcapng([Interface("wlan0", link_type=105)], [Packet(1, b"x" * 60)])
    with pytest.raises(RecordingError, match="link type 105, not Ethernet"):
        read_capture(write(tmp_path, wifi))


@pytest.mark.parametrize("size", [0, 1, 11], ids=str)
def test_an_empty_file_is_a_capture_without_packets(tmp_path: Path, size: int) -> None:
    capture = read_capture(write(tmp_path, section()[:size]))
    assert capture.packets.count == 0
    assert capture.damage == [f"node.pcapng is empty ({size} bytes)"]


def test_a_cut_file_is_read_up_to_the_cut(tmp_path: Path) -> None:
    data = pcapng([Interface("a", dropped=None)], [Packet(n, segment(n)) for n in range(23)])
    length = len(packet_block(Packet(0, segment(0)), 160))
    for packets in (22, 5, 0):
        cut = len(data) - length * (23 - packets) + length // 2 * (packets < 23)
        capture = read_capture(write(tmp_path, data[:cut]))
        assert capture.packets.count == packets
        assert "cut or damaged from byte" in capture.damage[0]
        assert capture.interfaces[0].dropped_packets is None


def test_a_damaged_block_ends_the_reading(tmp_path: Path) -> None:
    data = bytearray(pcapng([Interface("a")], [Packet(n, segment(n)) for n in range(23)]))
    length = len(packet_block(Packet(0, segment(0)), 160))
    tenth = len(pcapng([Interface("a", dropped=None)], [])) + 10 * length
    damaged = data.copy()
    damaged[tenth + 20 : tenth + 24] = struct.pack("<I", 5000)  # more captured than there is room
    assert read_capture(write(tmp_path, bytes(damaged))).packets.count == 10
    damaged = data.copy()
    damaged[tenth + length - 4 : tenth + length] = b"\0\0\0\0"  # the length at the block's end
    assert read_capture(write(tmp_path, bytes(damaged))).packets.count == 10
    damaged = data.copy()
    damaged[tenth + 8 : tenth + 12] = struct.pack("<I", 9)  # an interface that there is not
    capture = read_capture(write(tmp_path, bytes(damaged)))
    assert capture.packets.count == 10
    assert capture.damage


def _read(path: Path, data: bytes) -> Capture | None:
    path.write_bytes(data)
    try:
        capture = read_capture(path)
    except RecordingError:
        return None
    assert all(getattr(capture.packets, name).size == capture.packets.count for name in _COLUMNS)
    return capture


_COLUMNS = ("t_ns", "digest", "sequence", "payload", "dsack")
_WHOLE = pcapng(
    [Interface("a", received=30), Interface("b", snaplen=90)],
    [Packet(n, segment(n, 10 * n, options=f.timestamps(n, n)), n % 2) for n in range(1, 8)],
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, len(_WHOLE)))
def test_any_cut_gives_the_packets_before_it(tmp_path: Path, cut: int) -> None:
    capture = _read(tmp_path / "cut.pcapng", _WHOLE[:cut])
    assert capture is not None
    assert capture.packets.count <= 7
    # A cut between two blocks leaves a file that is whole in itself; only the drop counts are gone.
    unclosed = any(i.dropped_packets is None for i in capture.interfaces)
    assert capture.damage or unclosed or cut == len(_WHOLE) or not capture.interfaces


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(_WHOLE) - 1), st.integers(0, 255)), max_size=9)
)
def test_any_damage_gives_an_error_or_a_part(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(_WHOLE)
    for place, value in changes:
        data[place] = value
    _read(tmp_path / "damaged.pcapng", bytes(data))


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=400), head=st.booleans())
def test_any_bytes_give_an_error_or_a_part(tmp_path: Path, data: bytes, head: bool) -> None:
    _read(tmp_path / "any.pcapng", (section() if head else b"") + data)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(options=st.binary(max_size=40))
def test_any_tcp_options_are_read_without_harm(tmp_path: Path, options: bytes) -> None:
    found = columns(tmp_path, [segment(1, 10, options=options), segment(2, 10)])
    assert found.payload.tolist() == [10, 10]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_columns_are_those_that_tshark_sees(tmp_path: Path) -> None:
    """tshark is the oracle: the same fields of the same 400 packets."""
    draw = random.Random(23)
    frames = []
    for number in range(400):
        options = draw.choice(
            [b"", f.timestamps(number, 2 * number), f.timestamps(1, 2) + f.sack((10, 20), (30, 40))]
        )
        tcp = f.tcp(
            draw.randrange(1, 65536),
            80,
            draw.randrange(2**32),
            draw.randrange(2**32),
            flags=draw.choice([f.ACK, f.SYN, f.FIN | f.ACK, f.PSH | f.ACK]),
            window=draw.randrange(65536),
            options=options,
            payload=b"z" * draw.choice([0, 1, 1448]),
        )
        six = draw.random() < 0.3
        ip = (
            f.ipv6("fd00::1", "fd00::2", 6, tcp)
            if six
            else f.ipv4("10.0.0.1", "10.0.0.2", 6, tcp, identification=number)
        )
        frames.append(f.ethernet(A, B, 0x86DD if six else 0x0800, ip))
    path = write(tmp_path, pcapng([Interface("a")], [Packet(n, x) for n, x in enumerate(frames)]))
    names = {
        "frame.len": "size",
        "tcp.srcport": "source_port",
        "tcp.seq_raw": "sequence",
        "tcp.ack_raw": "acknowledgement",
        "tcp.window_size_value": "window",
        "tcp.len": "payload",
        "tcp.options.timestamp.tsval": "timestamp",
        "tcp.options.timestamp.tsecr": "timestamp_echo",
        "tcp.options.sack.count": "sack_blocks",
    }
    command = ["tshark", "-r", str(path), "-T", "fields"]
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    found = read_capture(path).packets
    for place, ours in enumerate(names.values()):
        theirs = [int(row[place] or 0) for row in rows]
        assert getattr(found, ours).astype(np.int64).tolist() == theirs, ours
