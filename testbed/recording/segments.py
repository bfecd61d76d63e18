"""Segments: what probes copy while a run goes on; decoding is offline work.

A segment begins with one line of JSON, the header, and goes on with binary data up to its end:

- ``records``: fixed-size little-endian records, described by `fields` (name, numpy type);
- ``frames``: each a frame header (`FRAME`) and its payload.

A segment that was cut short (SIGKILL, full disk) is read up to its last whole record or frame;
`cut_bytes` says how much was left over, so that a reader can tell.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from testbed.errors import RecordingError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FRAME: Final = struct.Struct("<qqHHI")
"""started_ns, ended_ns, kind (index into the header's kinds), node (index into its nodes), payload
length.
"""
_MAX_PAYLOAD_BYTES: Final = 64 * 2**20
_FLUSH_BYTES: Final = 256 * 1024


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of a segment."""

    format: Literal[1] = 1
    layout: Literal["records", "frames"]
    source: str
    """Who wrote it: ``link``, ``sampler``, ``event_loop``, ``syscall``, ``asgi``, ``http``."""
    process: str
    """Name of the process that wrote it: ``relay``, ``server``, ``client``."""
    fields: list[tuple[str, str]] = []
    """Of records: name and numpy type string of each field, such as ``["t_ns", "<i8"]``."""
    kinds: list[str] = []
    """Of frames: what `kind` counts."""
    nodes: list[str] = []
    """Of frames: what `node` counts; also the node of the process where there is just one."""
    about: dict[str, str] = {}
    """Anything else that a decoder needs, such as the link's name."""


class SegmentWriter:
    """Appends to a segment through a descriptor that somebody else may have opened.

    Not thread-safe. Buffers up to 256 KiB; `close` writes what is left. The file keeps its partial
    name until `layout.finish_partials`.
    """

    def __init__(self, descriptor: int, header: SegmentHeader) -> None:
        self._descriptor = descriptor
        self.buffer = bytearray(msgspec.json.encode(header) + b"\n")
        """What is not written yet. Who has many records adds them here, and then calls
        `flush_if_full` once.
        """
        self.flush()

    def append(self, record: bytes) -> None:
        """Adds one packed record."""
        self.buffer += record
        self.flush_if_full()

    def frame(
        self, started_ns: int, ended_ns: int, payload: bytes, *, kind: int = 0, node: int = 0
    ) -> None:
        """Adds one frame."""
        self.buffer += FRAME.pack(started_ns, ended_ns, kind, node, len(payload))
        self.append(payload)

    def flush_if_full(self) -> None:
        """Writes the buffer out when it has grown to 256 KiB."""
        if len(self.buffer) >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes the buffer out."""
        # What was written leaves the buffer at once: after an error it must not be written again.
        while self.buffer:
            written = os.write(self._descriptor, self.buffer)
            del self.buffer[:written]

    def close(self) -> None:
        """Writes the buffer out and closes the descriptor."""
        self.flush()
        os.close(self._descriptor)


class Frame(NamedTuple):
    """One frame of a segment."""

    started_ns: int
    ended_ns: int
    kind: str
    node: str
    payload: bytes


class Segment:
    """A segment on disk, for reading.

    Attributes:
        header: what its first line says.
        cut_bytes: bytes at its end that make no whole record or frame; known for frames after
            `frames` has ended.

    Raises:
        RecordingError: the file cannot be read or its first line is no header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut_bytes = 0
        try:
            with path.open("rb") as file:
                self.header = self._read_header(file)
                self._start = file.tell()
        except OSError as error:
            raise RecordingError(
                f"cannot read {path.name}: {error.strerror}", where=str(path)
            ) from error

    def _read_header(self, file: IO[bytes]) -> SegmentHeader:
        line = file.readline(1 << 20)
        try:
            return msgspec.json.decode(line, type=SegmentHeader)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RecordingError(
                f"{self.path.name} does not begin with a segment header: {error}",
                where=str(self.path),
            ) from error

    def records(self) -> npt.NDArray[np.void]:
        """All whole records, as a structured array, shape (records,)."""
        # Here, so that a process that only writes need not load it: 65 ms and 10 MB.
        import numpy as np

        try:
            dtype = np.dtype([(name, kind) for name, kind in self.header.fields])
        except TypeError as error:
            raise RecordingError(
                f"{self.path.name} names a field type that is unknown: {error}",
                where=str(self.path),
            ) from error
        if self.header.layout != "records" or dtype.itemsize == 0:
            raise RecordingError(f"{self.path.name} holds no records", where=str(self.path))
        with self.path.open("rb") as file:
            file.seek(self._start)
            data = file.read()
        whole = len(data) // dtype.itemsize
        self.cut_bytes = len(data) - whole * dtype.itemsize
        return np.frombuffer(data, dtype=dtype, count=whole)

    def frames(self) -> Iterator[Frame]:
        """All whole frames in the order they were written."""
        if self.header.layout != "frames":
            raise RecordingError(f"{self.path.name} holds no frames", where=str(self.path))
        kinds, nodes = self.header.kinds or [""], self.header.nodes or [""]
        data = self.path.read_bytes()
        position = self._start
        while position + FRAME.size <= len(data):
            started_ns, ended_ns, kind, node, length = FRAME.unpack_from(data, position)
            end = position + FRAME.size + length
            if length > _MAX_PAYLOAD_BYTES or kind >= len(kinds) or node >= len(nodes):
                raise RecordingError(
                    f"{self.path.name} is damaged at byte {position}: "
                    f"no frame has kind {kind}, node {node} and {length} bytes",
                    where=str(self.path),
                )
            if end > len(data):
                break
            yield Frame(
                started_ns, ended_ns, kinds[kind], nodes[node], data[position + FRAME.size : end]
            )
            position = end
        self.cut_bytes = len(data) - position
