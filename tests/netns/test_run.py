"""Rule: what the relay did, what the captures saw and what was asked for agree, packet by packet,
and the recording holds all of it.
"""

from __future__ import annotations

import resource
import shutil
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import polars as pl
import pytest

from testbed import Recording, run
from testbed.network.directions import wire_config
from testbed.network.relay.fates import Fates
from testbed.recording.layout import Layout
from testbed.recording.manifest import Direction, LinkRecord
from testbed.recording.segments import Segment
from testbed.scenario import Load, Scenario
from tests.support.pcapng import Capture, CapturedFrame, read_pcapng
from tests.support.relay_log import Fate, numbers, read_relay_log
from tests.support.runs import DELAY_MS, manifest_of, scenario, unfinished
from tests.support.sandboxes import in_sandbox

NODES = ("client", "r1", "server")
LINKS = ("client-r1", "r1-server")
DIRECTIONS = ("forward", "reverse")
FRAME_BYTES = 1514
"""Ethernet header and MTU 1500."""
LATE_NS = 50_000_000
"""How late half of the packets may be at most: 0.1 ms on an idle machine; the CPUs are shared."""


class Crossing:
    """One direction of one link: what the relay logged, and what both ends captured."""

    def __init__(self, root: Path, link: LinkRecord, direction: str) -> None:
        self.way: Direction = getattr(link, direction)
        self.log: list[Fate] = read_relay_log(Layout(root).segment(f"link.{link.name}"), direction)
        macs = {
            interface.name: interface.mac
            for node in manifest_of(root).nodes
            for interface in node.interfaces
        }
        mac = macs[self.way.sender_interface]
        self.sent = [f for f in self._captured(root, self.way.sender) if f.source_mac == mac]
        self.received = [f for f in self._captured(root, self.way.receiver) if f.source_mac == mac]

    def _captured(self, root: Path, node: str) -> list[CapturedFrame]:
        names = (self.way.sender_interface, self.way.receiver_interface)
        frames = read_pcapng(Layout(root).capture(node)).frames
        return [frame for frame in frames if frame.interface in names]


@pytest.fixture(
    scope="module",
    params=[(link, way) for link in LINKS for way in DIRECTIONS],
    ids=[f"{link}.{way}" for link in LINKS for way in DIRECTIONS],
)
def crossing(request: pytest.FixtureRequest, shared_root: Path) -> Crossing:
    name, direction = request.param
    (link,) = (link for link in manifest_of(shared_root).links if link.name == name)
    return Crossing(shared_root, link, direction)


@pytest.fixture(scope="module")
def captures(shared_root: Path) -> dict[str, Capture]:
    return {node: read_pcapng(Layout(shared_root).capture(node)) for node in NODES}


def test_the_relay_took_every_packet_that_the_sender_sent_in_order(crossing: Crossing) -> None:
    assert len(crossing.log) > 100
    assert [packet.digest for packet in crossing.log] == [f.digest for f in crossing.sent]
    assert [packet.size_bytes for packet in crossing.log] == [f.size_bytes for f in crossing.sent]


def test_the_receiver_got_every_packet_that_the_relay_delivered_in_order(
    crossing: Crossing,
) -> None:
    delivered = [packet for packet in crossing.log if packet.fate == "delivered"]
    assert [packet.digest for packet in delivered] == [f.digest for f in crossing.received]


def test_what_the_relay_lost_is_what_is_missing_between_the_captures(crossing: Crossing) -> None:
    missing = Counter(f.digest for f in crossing.sent) - Counter(
        f.digest for f in crossing.received
    )
    lost = Counter(packet.digest for packet in crossing.log if packet.fate == "lost")
    assert missing == lost
    assert bool(lost) == (crossing.way.loss_ratio > 0)


def test_the_relay_lost_what_the_seed_says(crossing: Crossing, shared_root: Path) -> None:
    link = next(m for m in manifest_of(shared_root).links if crossing.way in (m.forward, m.reverse))
    fates = Fates(
        seed=7,
        link=link.name,
        direction="forward" if crossing.way == link.forward else "reverse",
        wire=wire_config(crossing.way),
    )
    expected: list[int] = []
    while (block := fates.block()).first < len(crossing.log):
        expected += [number for number in block.specials if number < len(crossing.log)]
    assert numbers(crossing.log, "lost") == expected


def test_every_packet_was_delivered_or_lost(crossing: Crossing) -> None:
    assert Counter(packet.fate for packet in crossing.log).keys() <= {"delivered", "lost"}
    assert [packet.number for packet in crossing.log] == list(range(len(crossing.log)))


def test_no_packet_was_early_and_few_were_late(crossing: Crossing) -> None:
    late_ns = [p.departure_ns - p.due_ns for p in crossing.log if p.fate == "delivered"]
    assert min(late_ns) >= 0
    assert median(late_ns) < LATE_NS
    assert {p.due_ns - p.arrival_ns for p in crossing.log} == {crossing.way.delay_ns}


@pytest.mark.parametrize(
    ("name", "direction"), [("client-r1", "reverse"), ("r1-server", "forward")]
)
def test_packets_left_the_bottleneck_no_faster_than_its_capacity(
    shared_root: Path, name: str, direction: str
) -> None:
    (link,) = (link for link in manifest_of(shared_root).links if link.name == name)
    crossing = Crossing(shared_root, link, direction)
    assert crossing.way.capacity_bit_s == 10_000_000
    # HTB may send a burst of one frame and the relay reads in rounds, so single gaps may be short;
    # all together may not.
    times = [p.arrival_ns for p in crossing.log]
    bits = sum(p.size_bytes * 8 for p in crossing.log[1:])
    assert bits / ((times[-1] - times[0]) / 1e9) <= crossing.way.capacity_bit_s


def test_the_relays_counts_are_those_of_its_log(shared_root: Path) -> None:
    manifest = manifest_of(shared_root)
    (relay,) = (p for p in manifest.processes if p.kind == "relay")
    for link in LINKS:
        for direction in DIRECTIONS:
            log = read_relay_log(Layout(shared_root).segment(f"link.{link}"), direction)
            counts = {
                key: relay.about[f"{link}.{direction}.{key}"]
                for key in ("arrived", "delivered", "lost", "overflowed", "held")
            }
            assert counts == {
                "arrived": len(log),
                "delivered": len(numbers(log, "delivered")),
                "lost": len(numbers(log, "lost")),
                "overflowed": 0,
                "held": 0,
            }


def test_offloads_are_off_so_no_frame_is_larger_than_the_mtu_allows(
    captures: dict[str, Capture], shared_root: Path
) -> None:
    sizes = [frame.size_bytes for capture in captures.values() for frame in capture.frames]
    assert 60 < max(sizes) <= FRAME_BYTES
    for node in manifest_of(shared_root).nodes:
        for interface in node.interfaces:
            assert set(interface.offloads.values()) == {False}
            assert len(interface.offloads) == 4


def test_the_captures_dropped_nothing(captures: dict[str, Capture]) -> None:
    assert {node: capture.dropped for node, capture in captures.items()} == {
        "client": {"client-eth0": 0},
        "r1": {"r1-eth0": 0, "r1-eth1": 0},
        "server": {"server-eth0": 0},
    }


def test_each_interface_marked_the_end_of_its_capture_once(captures: dict[str, Capture]) -> None:
    # The relay lets no marker pass, so each is seen at the interface that sent it and nowhere else.
    marked = {node: sorted(m.interface for m in c.markers) for node, c in captures.items()}
    assert marked == {
        "client": ["client-eth0"],
        "r1": ["r1-eth0", "r1-eth1"],
        "server": ["server-eth0"],
    }


def test_nothing_but_the_experiment_is_on_the_links(captures: dict[str, Capture]) -> None:
    ends = {"10.0.0.1", "10.0.1.1"}
    for capture in captures.values():
        assert {frame.ethertype for frame in capture.frames} == {0x0800}  # IPv4
        assert {frame.data[23] for frame in capture.frames} == {6}  # TCP
        assert {a for frame in capture.frames for a in frame.addresses} == ends


def test_handshakes_take_the_round_trip_that_was_set(captures: dict[str, Capture]) -> None:
    # At the client: from a SYN that was sent once to its SYN-ACK, over both delays.
    syn_ns: dict[int, list[int]] = {}
    answers: dict[int, int] = {}
    for frame in captures["client"].frames:
        source, target = struct.unpack_from(">HH", frame.data, 34)
        flags = frame.data[47] & 0x12
        if flags == 0x02:
            syn_ns.setdefault(source, []).append(frame.time_ns)
        elif flags == 0x12:
            answers.setdefault(target, frame.time_ns)
    trips_ms = [
        (answers[port] - times[0]) / 1e6
        for port, times in syn_ns.items()
        if len(times) == 1 and port in answers
    ]
    assert trips_ms
    assert min(trips_ms) >= 2 * DELAY_MS
    # The bound is for the CPUs that are shared; the queue holds nothing yet at a handshake.
    assert min(trips_ms) < 2 * DELAY_MS + LATE_NS / 1e6


def established_algorithms(reply: bytes) -> Iterator[str]:
    """The congestion control of each established socket of an inet_diag dump.

    include/uapi/linux/inet_diag.h: 72 bytes of struct inet_diag_msg, then attributes. Connections
    over loopback are left out: they are the testbed's own, to see whether the server is ready.
    """
    position = 0
    while position + 16 <= len(reply):
        length, kind = struct.unpack_from("=IH", reply, position)
        established = kind == 20 and reply[position + 17] == 1  # SOCK_DIAG_BY_FAMILY
        if established and reply[position + 24] != 127:  # first byte of idiag_src
            attribute = position + 16 + 72
            while attribute + 4 <= position + length:
                size, code = struct.unpack_from("=HH", reply, attribute)
                if code == 4:  # INET_DIAG_CONG
                    yield reply[attribute + 4 : attribute + size].rstrip(b"\0").decode()
                attribute += (size + 3) & ~3
        position += max(16, (length + 3) & ~3)


def algorithms_used(root: Path) -> dict[str, set[str]]:
    """The congestion controls seen in each node."""
    used: dict[str, set[str]] = {}
    for frame in Segment(Layout(root).segment("sampler")).frames():
        if frame.kind == "inet_diag":
            used.setdefault(frame.node, set()).update(established_algorithms(frame.payload))
    return used


def test_congestion_control_is_cubic_whatever_the_machines_default(shared_root: Path) -> None:
    assert algorithms_used(shared_root) == {"client": {"cubic"}, "server": {"cubic"}}


@pytest.fixture(scope="module")
def other_root(mark: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the same seed and all else different: load, congestion control, probes."""
    asked = scenario(load=Load(users=2, requests=25), congestion_control="reno", probes="light")
    return run(asked, tmp_path_factory.mktemp("other") / "run").root


def test_another_congestion_control_is_used_when_asked_for(other_root: Path) -> None:
    assert algorithms_used(other_root) == {"client": {"reno"}, "server": {"reno"}}


def test_the_same_seed_loses_the_same_packets(shared_root: Path, other_root: Path) -> None:
    # Other timing, other numbers of packets: as far as both runs go, the same are lost.
    for link, direction in (("client-r1", "reverse"), ("r1-server", "forward")):
        logs = [
            read_relay_log(Layout(root).segment(f"link.{link}"), direction)
            for root in (shared_root, other_root)
        ]
        both = min(map(len, logs))
        first, second = ([n for n in numbers(log, "lost") if n < both] for log in logs)
        assert first == second
        assert first, "so few packets that nothing was lost"


def test_the_recording_is_complete(shared_root: Path) -> None:
    manifest = manifest_of(shared_root)
    assert (manifest.state, manifest.failure, manifest.warnings) == ("complete", "", [])
    assert manifest.seed == 7
    assert manifest.link_backend == "relay"
    # For root, where there is a tracefs.
    traced = any("tracepoints" in probe.sources for probe in manifest.probes)
    processes = [(p.name, p.kind, p.exit_code) for p in manifest.processes]
    assert (("tracer", "tracer", 0) in processes) == traced
    assert [one for one in processes if one[0] != "tracer"] == [
        ("server", "server", 0),
        ("client", "load", 0),
        ("relay", "relay", 0),
        ("sampler", "sampler", 0),
        ("capture.client", "capture", 0),
        ("capture.r1", "capture", 0),
        ("capture.server", "capture", 0),
    ]
    assert unfinished(shared_root) == []
    segments = {path.name for path in (shared_root / "segments").iterdir()}
    assert segments == {
        "asgi.server.seg",
        "event_loop.client.seg",
        "event_loop.server.seg",
        "http.client.seg",
        "link.client-r1.seg",
        "link.r1-server.seg",
        "sampler.seg",
        "syscall.client.seg",
        "syscall.server.seg",
        *(["tracepoints.seg"] if traced else []),
    }
    assert {path.name for path in (shared_root / "packets").iterdir()} == {
        f"{node}.pcapng" for node in NODES
    }
    for name in ("summary.json", "report.html", "commands.sh"):
        assert (shared_root / name).stat().st_size > 0


def test_nobody_else_can_read_it(shared_root: Path) -> None:
    paths = [shared_root, *shared_root.rglob("*")]
    modes = Counter((path.is_dir(), path.stat().st_mode & 0o777) for path in paths)
    assert set(modes) == {(True, 0o700), (False, 0o600)}


def test_no_process_complained(shared_root: Path) -> None:
    said = {
        path.name: [
            line
            for line in path.read_text(encoding="utf-8").splitlines()
            if "[INFO] Running on " not in line  # Hypercorn's greeting
        ]
        for path in (shared_root / "logs").glob("*.stderr.log")
        if not path.name.startswith("capture.")  # dumpcap tells there what it does
    }
    assert {"client.stderr.log", "server.stderr.log", "relay.stderr.log"} < said.keys()
    assert {name: lines for name, lines in said.items() if lines} == {}


def test_descriptors_of_server_and_clients_are_counted(shared_run: Recording) -> None:
    table = pl.read_parquet(shared_run.root / "events" / "descriptors.parquet")
    assert set(table["process"]) == {"client", "server"}
    # The sandbox's processes have the limit of who started them.
    assert set(table["soft_limit"]) == {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}
    # Standard streams, the segments of four probes, the selector, the listener ...
    assert min(table["open_descriptors"].to_list()) >= 3
    used = shared_run.summary.layers["socket"].backpressure
    assert used is not None
    assert used["descriptors_in_use_most"] == table["open_descriptors"].max()
    assert used["descriptor_limit"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert shared_run.summary.layers["socket"].reason == ""


def test_a_student_can_repeat_the_commands_by_hand(shared_root: Path, tmp_path: Path) -> None:
    shutil.copy(shared_root / "commands.sh", tmp_path)
    done = in_sandbox(
        [
            "sh",
            "-c",
            f"PATH=$PATH:/usr/sbin:/sbin; sh {tmp_path}/commands.sh && ip netns && "
            "tc -n r1 qdisc show dev r1-eth1 && ip -n client route",
        ]
    )
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines()[:3]) == ["client", "r1", "server"]
    assert "qdisc pfifo 10: parent 1:10 limit 50p" in done.stdout
    # linkdown: no relay stands between the devices.
    assert "10.0.1.0/24 via 10.0.0.254 dev client-eth0 linkdown congctl cubic" in done.stdout


def test_every_pair_of_a_dumbbell_talks_to_itself_across_the_shared_link(tmp_path: Path) -> None:
    asked = Scenario(
        topology="dumbbell",
        topology_options={"n": 2},
        load=Load(users=1, requests=10),
        seed=7,
    )
    done = run(asked, tmp_path / "run")
    manifest = manifest_of(done.root)
    assert (manifest.state, manifest.warnings) == ("complete", [])
    assert {link.name: link.wire for link in manifest.links}["r1-r2"] == "relay"
    for pair in (1, 2):
        frames = read_pcapng(Layout(done.root).capture(f"client{pair}")).frames
        talked = {address for frame in frames for address in frame.addresses}
        assert talked == {f"10.1.{pair}.1", f"10.2.{pair}.1"}
    assert (done.http.requests, done.http.completed) == (20, 20)
    # Each packet of either pair crosses the one relayed link: the sums are the same.
    log = read_relay_log(Layout(done.root).segment("link.r1-r2"), "forward")
    clients = [read_pcapng(Layout(done.root).capture(f"client{pair}")).frames for pair in (1, 2)]
    sent = [f for n, frames in enumerate(clients, 1) for f in frames
            if f.addresses[0] == f"10.1.{n}.1"]  # fmt: skip
    assert len(log) == len(sent)
