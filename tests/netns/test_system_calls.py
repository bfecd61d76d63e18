"""Rule: what the processes' system calls moved is what crossed the wire, byte for byte of each
connection, in both directions, at both ends; and no byte left before its call nor was read before
it came.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from testbed import Recording, run
from testbed.recording.layout import Layout
from testbed.scenario import Load
from tests.support.pcapng import read_pcapng
from tests.support.runs import manifest_of, scenario

HOSTS = ("client", "server")
DRIFT_NS = 1_000_000
"""How far the two clocks may part in a run of some seconds."""
SYN = 2

Flow = tuple[str, int, str, int]
"""Source and destination: address and port each."""


class Segment(NamedTuple):
    """A TCP segment with payload: where its bytes lie in the stream, and when it was captured."""

    start: int
    end: int
    t_ns: int


@pytest.fixture(scope="module", params=["hello", "stream"])
def root(
    request: pytest.FixtureRequest, mark: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run with 2 % loss, of small answers and of large ones."""
    if request.param == "hello":
        shared: Recording = request.getfixturevalue("shared_run")
        return shared.root
    asked = scenario(app="stream", load=Load(users=2, requests=6))
    return run(asked, tmp_path_factory.mktemp("stream") / "run").root


def segments(root: Path, node: str) -> dict[Flow, list[Segment]]:
    """What a node captured of each flow, read by the tests' own reader, in order of time."""
    start = manifest_of(root).clock_start
    assert start is not None
    first: dict[Flow, int] = {}
    found: dict[Flow, list[Segment]] = defaultdict(list)
    for frame in read_pcapng(Layout(root).capture(node)).frames:
        data = frame.data[14:]
        if frame.ethertype != 0x0800 or data[9] != 6:
            continue
        header = (data[0] & 15) * 4
        source_port, port, sequence = struct.unpack_from("!HHI", data, header)
        size = int.from_bytes(data[2:4], "big") - header - (data[header + 12] >> 4) * 4
        source, destination = frame.addresses
        flow = (source, source_port, destination, port)
        if data[header + 13] & SYN:
            first[flow] = sequence + 1
        elif size:
            at = (sequence - first[flow]) % 2**32
            found[flow].append(Segment(at, at + size, frame.time_ns - start.offset_ns))
    return found


def covered(parts: list[Segment]) -> int:
    """How many bytes the segments have together; what came twice counts once."""
    end = total = 0
    for part in sorted(parts):
        total += max(0, part.end - max(end, part.start))
        end = max(end, part.end)
    return total


def calls(root: Path, node: str) -> dict[tuple[Flow, str], list[tuple[int, int, int, int]]]:
    """Offset, bytes, start and end of each call that moved any, by flow of what was moved."""
    table = pl.read_parquet(Layout(root).events("syscall"))
    connections = pl.read_parquet(Layout(root).events("connections"))
    found: dict[tuple[Flow, str], list[tuple[int, int, int, int]]] = defaultdict(list)
    joined = table.filter((pl.col("node") == node) & (pl.col("bytes") > 0)).join(
        connections, on=["process", "connection"]
    )
    for row in joined.iter_rows(named=True):
        here = (row["local_address"], row["local_port"])
        there = (row["remote_address"], row["remote_port"])
        if here[0] == there[0]:
            continue  # a server with TLS is asked from its own host whether it is ready
        flow = (*here, *there) if row["call"] == "send" else (*there, *here)
        found[flow, row["call"]].append(
            (row["offset_bytes"], row["bytes"], row["started_ns"], row["ended_ns"])
        )
    return found


@pytest.mark.parametrize("node", HOSTS)
def test_calls_moved_the_bytes_of_the_captures(root: Path, node: str) -> None:
    captured, moved = segments(root, node), calls(root, node)
    addresses = {"client": "10.0.0.1", "server": "10.0.1.1"}
    wanted = {
        (flow, "send" if flow[0] == addresses[node] else "recv"): covered(parts)
        for flow, parts in captured.items()
    }
    assert len(wanted) >= 2  # both ways of every connection
    assert {key: sum(size for _, size, *_ in found) for key, found in moved.items()} == wanted


@pytest.mark.parametrize("node", HOSTS)
def test_no_byte_left_before_its_call_nor_was_read_before_it_came(root: Path, node: str) -> None:
    captured, moved = segments(root, node), calls(root, node)
    for (flow, call), found in moved.items():
        came: dict[int, int] = {}
        for part in captured[flow]:
            came.setdefault(part.start, part.t_ns)
        for offset, size, started_ns, ended_ns in found:
            times = [t_ns for at, t_ns in came.items() if offset <= at < offset + size]
            if call == "send":
                assert all(t_ns >= started_ns - DRIFT_NS for t_ns in times)
            else:
                assert all(t_ns <= ended_ns + DRIFT_NS for t_ns in times)


def test_the_layer_is_observed_in_both_processes(root: Path) -> None:
    table = pl.read_parquet(Layout(root).events("syscall"))
    assert set(table["process"]) == set(HOSTS)
    ports = pl.read_parquet(Layout(root).events("http"))["local_port"]
    connections = pl.read_parquet(Layout(root).events("connections"))
    mine = connections.filter(pl.col("process") == "client")
    assert set(ports.drop_nulls()) <= set(mine["local_port"])
