"""Syscall segments become tables, column for column, also when they are cut or full of rubbish."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.analysis.decode.schema import schema_of
from testbed.analysis.decode.syscalls import decode_syscalls
from testbed.analysis.evidence import load
from testbed.analysis.metrics import syscall as metrics
from testbed.errors import RecordingError
from testbed.events.syscall import SYSCALL_CALLS, Connection, SyscallCall
from testbed.probes.syscall import open_syscall_probe
from testbed.recording.layout import create, finish_partials
from testbed.recording.manifest import read_manifest
from testbed.recording.segments import FRAME, Segment, SegmentHeader
from tests.builders.recordings import Run
from tests.builders.syscalls import KINDS, connection, syscall_record, syscall_segment

HEADER = SegmentHeader(
    layout="frames", source="syscall", process="server", kinds=KINDS, nodes=["h2"]
)
CLIENT = connection(1, "client", ("10.0.0.1", 40000), ("10.0.1.1", 8000), at_ns=5)


def frame(payload: bytes, kind: int = 1) -> bytes:
    return FRAME.pack(1, 2, kind, 0, len(payload)) + payload


def on_disk(path: Path, *frames: bytes) -> Segment:
    path.write_bytes(msgspec.json.encode(HEADER) + b"\n" + b"".join(frames))
    return Segment(path)


def built(tmp_path: Path, *batches: list[tuple[Any, ...]]) -> Segment:
    layout = create(tmp_path / "run")
    syscall_segment(layout, "client", [CLIENT], batches)
    finish_partials(layout)
    return Segment(layout.segment("syscall.client"))


def test_a_row_for_each_call_with_its_offset(tmp_path: Path) -> None:
    segment = built(
        tmp_path,
        [
            ("send", 1, 10, 20, 100, 150),
            ("recv", 1, 21, 22, 0, 65536, errno.EAGAIN),
            ("wait_readable", 1, 22, 30),
            ("send", 2, 23, 24, 7, 7),
        ],
        [("recv", 1, 31, 33, 40, 65536), ("send", 1, 40, 41, 50, 50), ("recv", 1, 50, 51, 0, 9)],
    )
    found = decode_syscalls(segment)
    assert found.damage == []
    assert found.calls.schema == schema_of(SyscallCall)
    assert found.calls.drop("process", "node").rows() == [
        (1, "send", 10, 20, 100, 150, None, 0),
        (1, "recv", 21, 22, 0, 65536, "EAGAIN", None),
        (1, "wait_readable", 22, 30, 0, None, None, None),
        (2, "send", 23, 24, 7, 7, None, 0),
        (1, "recv", 31, 33, 40, 65536, None, 0),
        (1, "send", 40, 41, 50, 50, None, 100),
        (1, "recv", 50, 51, 0, 9, None, None),
    ]
    assert found.connections.schema == schema_of(Connection)
    assert found.connections.row(0) == (
        "client", "client", "client", 1, "10.0.0.1", 40000, "10.0.1.1", 8000, 5
    )  # fmt: skip


def test_every_kind_of_call_and_every_errno_has_a_name(tmp_path: Path) -> None:
    calls = [(call, 1, 0, 1, 0, 0, 0) for call in SYSCALL_CALLS]
    errors = [("send", 1, 0, 1, 0, 0, error) for error in range(256)]
    table = decode_syscalls(built(tmp_path, calls, errors)).calls
    assert table["call"].head(len(calls)).to_list() == list(SYSCALL_CALLS)
    names = table["error"].tail(256).to_list()
    assert names[0] is None
    assert names[errno.EMFILE] == "EMFILE"
    assert names[255] == "errno 255"
    assert None not in names[1:]


def test_a_segment_without_a_call_is_an_empty_table(tmp_path: Path) -> None:
    found = decode_syscalls(on_disk(tmp_path / "s.seg"))
    assert found.calls.schema == schema_of(SyscallCall)
    assert found.connections.schema == schema_of(Connection)
    assert found.calls.height == found.connections.height == 0


def test_behind_a_frame_that_is_not_whole_offsets_are_not_known(tmp_path: Path) -> None:
    send = syscall_record("send", 1, 1, 2, 10, 10)
    found = decode_syscalls(
        on_disk(tmp_path / "s.seg", frame(send), frame(send + b"12345"), frame(send))
    )
    assert found.calls["offset_bytes"].to_list() == [0, None, None]
    assert found.damage == ["s.seg: 1 frames are not whole"]


def test_what_is_before_a_damaged_frame_is_kept(tmp_path: Path) -> None:
    send = syscall_record("send", 1, 1, 2, 10, 10)
    bad = FRAME.pack(0, 0, 99, 0, 5) + b"12345"
    found = decode_syscalls(on_disk(tmp_path / "s.seg", frame(send), bad))
    assert found.calls["offset_bytes"].to_list() == [0]
    assert "is damaged at byte" in found.damage[0]


def test_a_segment_of_records_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.seg"
    path.write_bytes(b'{"layout":"records","source":"syscall","process":"x"}\n')
    with pytest.raises(RecordingError, match="holds no frames"):
        decode_syscalls(Segment(path))


def whole(path: Path) -> bytes:
    """A segment as the probe writes it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    probe = open_syscall_probe(descriptor, process="server", node="h2")
    probe.opened(CLIENT)
    for number in range(600):
        probe.record("send", 1, number, number + 1, 3, 5)
    probe.close()
    return path.read_bytes()


def test_a_cut_segment_is_read_up_to_its_last_whole_frame(tmp_path: Path) -> None:
    data = whole(tmp_path / "whole.seg")
    path = tmp_path / "s.seg"
    path.write_bytes(data[:-1])
    segment = Segment(path)
    found = decode_syscalls(segment)
    assert found.calls.height == 512
    assert segment.cut_bytes > 0


quietly = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200
)


@quietly
@given(rubbish=st.binary(max_size=400))
def test_rubbish_raises_nothing(tmp_path: Path, rubbish: bytes) -> None:
    found = decode_syscalls(on_disk(tmp_path / "s.seg", rubbish))
    assert found.calls.schema == schema_of(SyscallCall)


@quietly
@given(parts=st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=100)), max_size=6))
def test_frames_of_rubbish_raise_nothing(tmp_path: Path, parts: list[tuple[int, bytes]]) -> None:
    found = decode_syscalls(
        on_disk(tmp_path / "s.seg", *(frame(payload, kind) for kind, payload in parts))
    )
    assert found.connections.schema == schema_of(Connection)
    for measure in (metrics.calls_by_kind, metrics.errors, metrics.time_inside_ns):
        measure(found.calls)


_WORD = st.integers(-(2**70), 2**70) | st.text(max_size=5) | st.none()


@quietly
@given(
    fields=st.dictionaries(
        st.sampled_from(["connection", "local_port", "remote_port", "opened_ns"]), _WORD
    )
)
def test_a_socket_with_rubbish_in_it_raises_nothing(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    payload = json.dumps({**msgspec.structs.asdict(CLIENT), **fields}).encode()
    found = decode_syscalls(on_disk(tmp_path / "s.seg", frame(payload, 0)))
    assert found.connections.schema == schema_of(Connection)


@quietly
@given(at=st.integers(0), change=st.integers(1, 255))
def test_a_changed_byte_takes_no_more_than_the_segment(
    tmp_path: Path, at: int, change: int
) -> None:
    data = bytearray(whole(tmp_path / "whole.seg"))
    data[at % len(data)] ^= change
    path = tmp_path / "s.seg"
    path.write_bytes(data)
    with suppress(RecordingError):  # its header
        decode_syscalls(Segment(path))


def test_a_damaged_segment_is_a_line_of_damage_and_the_rest_stands(tmp_path: Path) -> None:
    layout = Run().write(tmp_path / "run")
    path = layout.segment("syscall.server")
    path.write_bytes(path.read_bytes() + FRAME.pack(0, 0, 99, 0, 5))
    evidence = load(layout, read_manifest(layout))
    assert any("syscall.server" in line for line in evidence.damage)
    assert set(evidence.tables["syscall"]["process"]) == {"client", "server"}


def test_no_segment_is_missing_with_its_reason(tmp_path: Path) -> None:
    layout = Run().write(tmp_path / "run")
    for process in ("client", "server"):
        layout.segment(f"syscall.{process}").unlink()
    evidence = load(layout, read_manifest(layout))
    assert evidence.missing["syscall"] == "no readable syscall segment in the recording"
    assert "connections" not in evidence.tables


Measure = Callable[[pl.DataFrame], object]


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        pytest.param(metrics.calls_by_kind, {"send": 3, "recv": 2, "accept": 2, "shutdown": 1}),
        pytest.param(metrics.errors, {"ECONNRESET": 1, "EMFILE": 1}),
        pytest.param(metrics.again_calls, 1),
        pytest.param(metrics.short_writes, 1),
        pytest.param(metrics.time_inside_ns, 8),
        pytest.param(metrics.cancelled_waits, 1),
        pytest.param(lambda t: metrics.time_waiting_ns(t, "wait_readable"), 70),
        pytest.param(lambda t: metrics.time_waiting_ns(t, "wait_writable"), 9),
        pytest.param(lambda t: metrics.moved_bytes(t, "send").to_list(), [10, 6]),
    ],
)
def test_metrics(tmp_path: Path, measure: Measure, expected: object) -> None:
    # The listening socket is number 9.
    table = decode_syscalls(
        built(
            tmp_path,
            [
                ("accept", 9, 0, 1),
                ("wait_readable", 9, 0, 1000),
                ("accept", 9, 0, 1, 0, 0, errno.EMFILE),
                ("send", 1, 0, 1, 10, 10),
                ("send", 1, 0, 1, 6, 10),
                ("send", 1, 0, 1, 0, 4, errno.EAGAIN),
                ("wait_writable", 1, 0, 9),
                ("recv", 1, 0, 1, 0, 10, errno.ECONNRESET),
                ("recv", 1, 0, 1, 0, 10),
                ("wait_readable", 1, 0, 30),
                ("wait_readable", 1, 30, 70, 0, 0, errno.ECANCELED),
                ("shutdown", 1, 0, 1, 0, 0, errno.ENOTCONN),
            ],
        )
    ).calls
    assert measure(table) == expected
