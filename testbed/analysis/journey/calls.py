"""System calls and waits of connections, found by stream offset or by time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.matching import NONE

Int64 = npt.NDArray[np.int64]
_OFFSET_BITS: Final = 42
"""Room for the offsets of one connection: none carries 4 TiB."""


@dataclass(frozen=True, slots=True)
class Call:
    """One system call for each question; NONE where there is none; shape (questions,)."""

    started_ns: Int64
    ended_ns: Int64


class Connections:
    """Every connection of every process, numbered.

    Attributes:
        process: by number.
        role: ``client`` or ``server``.
        opened_ns: when its process had it: connected or accepted.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        table = table.filter(pl.col("remote_port").is_not_null())
        self.process = table["process"].to_list()
        self.node = table["node"].to_list()
        self.role = table["role"].cast(pl.String).to_list()
        self.opened_ns = table["opened_ns"].fill_null(NONE).to_numpy().astype(np.int64)
        columns = ("local_address", "local_port", "remote_address", "remote_port")
        self.ends: list[tuple[str, int, str, int]] = list(
            zip(*(table[name].to_list() for name in columns), strict=True)
        )
        numbers = table["connection"].to_list()
        self._numbers = table.select(
            "process", "connection", number=pl.int_range(pl.len(), dtype=pl.Int64)
        )
        self._number = {key: i for i, key in enumerate(zip(self.process, numbers, strict=True))}
        self._servers: dict[tuple[object, ...], list[int]] = {}
        self._clients: dict[tuple[object, ...], list[int]] = {}
        for i, role in enumerate(self.role):
            if role == "server":
                self._servers.setdefault(self.ends[i], []).append(i)
            else:
                self._clients.setdefault(self.ends[i], []).append(int(self.opened_ns[i]))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.process)

    def number(self, process: str, connection: int | None) -> int:
        """The number of a process's connection, or NONE."""
        return self._number.get((process, connection), NONE)

    def numbers(self, process: pl.Series, connection: pl.Series) -> Int64:
        """The same for the rows of a table."""
        rows = pl.DataFrame({"process": process, "connection": connection})
        joined = rows.join(
            self._numbers, on=["process", "connection"], how="left", maintain_order="left"
        )
        return joined["number"].fill_null(NONE).to_numpy().astype(np.int64)

    def peer(self, number: int) -> int:
        """The server's end of a client's connection, or NONE.

        Of a 4-tuple that was used again it is the first that was accepted after it was opened and
        before the next one was.
        """
        local_address, local_port, remote_address, remote_port = self.ends[number]
        ends = (remote_address, remote_port, local_address, local_port)
        opened_ns = int(self.opened_ns[number])
        others = self._clients.get(self.ends[number], ())
        until_ns = min((t_ns for t_ns in others if t_ns > opened_ns), default=None)
        accepted = [
            i
            for i in self._servers.get(ends, ())
            if self.opened_ns[i] >= opened_ns and (until_ns is None or self.opened_ns[i] < until_ns)
        ]
        return min(accepted, key=lambda i: self.opened_ns[i], default=NONE)


class Transfers:
    """The calls of one kind that moved bytes, by connection and offset."""

    def __init__(self, connection: Int64, offset: Int64, size: Int64, calls: Call) -> None:
        order = np.lexsort((offset, connection))
        self._key = (connection[order] << _OFFSET_BITS) + offset[order]
        self._end = self._key + size[order]
        self._calls = Call(calls.started_ns[order], calls.ended_ns[order])
        self._connection, self._end_offset = connection[order], offset[order] + size[order]
        self._by_time = _ByTime(self._connection, self._calls.ended_ns)

    def covering(self, connection: Int64, offset: Int64) -> Call:
        """The call that moved the byte at each offset of each connection."""
        wanted = (np.maximum(connection, 0) << _OFFSET_BITS) + offset
        place = np.searchsorted(self._key, wanted, side="right") - 1
        known = (connection != NONE) & (offset >= 0) & (place >= 0)
        known &= wanted < np.append(self._end, -1)[place]
        return Call(*(
            np.where(known, np.append(times, NONE)[place], NONE)
            for times in (self._calls.started_ns, self._calls.ended_ns)
        ))  # fmt: skip

    def moved_by(self, connection: Int64, t_ns: Int64) -> Int64:
        """How far each connection was by a time: the offset after its last byte; NONE: nowhere."""
        place = self._by_time.last(connection, t_ns)
        return np.where(place == NONE, NONE, np.append(self._end_offset, NONE)[place])


class _ByTime:
    """The last thing of a connection by a time.

    Args:
        connection: ascending.
        ended_ns: of each thing, ascending within its connection.
    """

    def __init__(self, connection: Int64, ended_ns: Int64) -> None:
        self._connection = connection
        self._origin = int(ended_ns.min()) if ended_ns.size else 0
        self._span = (int(ended_ns.max()) - self._origin + 2) if ended_ns.size else 1
        self._key = connection * self._span + (ended_ns - self._origin)

    def last(self, connection: Int64, t_ns: Int64) -> Int64:
        """The place of the last one of each connection that had ended by a time, or NONE."""
        at = np.clip(t_ns - self._origin, -1, self._span - 1)
        wanted = np.maximum(connection, 0) * self._span + at
        place = np.searchsorted(self._key, wanted, side="right") - 1
        known = (connection != NONE) & (place >= 0)
        known &= np.append(self._connection, NONE)[place] == connection
        return np.where(known, place, NONE)


class Waits:
    """The waits of one kind, by connection and time."""

    def __init__(self, connection: Int64, calls: Call) -> None:
        order = np.lexsort((calls.ended_ns, connection))
        self.connection = connection[order]
        self.started_ns, self.ended_ns = calls.started_ns[order], calls.ended_ns[order]
        self._by_time = _ByTime(self.connection, self.ended_ns)

    def last_before(self, connection: Int64, t_ns: Int64) -> Call:
        """The last one of each connection that had ended by a time."""
        place = self._by_time.last(connection, t_ns)
        return Call(np.append(self.started_ns, NONE)[place], np.append(self.ended_ns, NONE)[place])


class SystemCalls:
    """All of a run."""

    def __init__(self, connections: Connections, table: pl.DataFrame) -> None:
        self._number = connections.numbers(table["process"], table["connection"])
        self._kind = table["call"].cast(pl.String).to_numpy()
        self._times = Call(
            table["started_ns"].to_numpy().astype(np.int64),
            table["ended_ns"].to_numpy().astype(np.int64),
        )
        self._size = table["bytes"].fill_null(0).to_numpy().astype(np.int64)
        self._offset = table["offset_bytes"].fill_null(NONE).to_numpy().astype(np.int64)
        self.sends = self._transfers("send")
        self.receives = self._transfers("recv")
        self.waits_readable = self._waits("wait_readable")
        self.waits_writable = self._waits("wait_writable")
        self.waits_connected = self._waits("wait_connected")
        self._connect_ns = np.full(connections.count + 1, NONE, np.int64)
        connects = np.flatnonzero((self._kind == "connect") & (self._number != NONE))[::-1]
        # The first one is written last and stays.
        self._connect_ns[self._number[connects]] = self._times.started_ns[connects]

    def connect_ns(self, connection: Int64) -> Int64:
        """When connect() was called first for each connection; NONE: not seen."""
        return np.where(connection == NONE, NONE, self._connect_ns[connection])

    def _transfers(self, kind: str) -> Transfers:
        rows = (self._kind == kind) & (self._size > 0) & (self._number != NONE)
        rows &= self._offset != NONE
        calls = Call(self._times.started_ns[rows], self._times.ended_ns[rows])
        return Transfers(self._number[rows], self._offset[rows], self._size[rows], calls)

    def _waits(self, kind: str) -> Waits:
        rows = (self._kind == kind) & (self._number != NONE)
        calls = Call(self._times.started_ns[rows], self._times.ended_ns[rows])
        return Waits(self._number[rows], calls)
