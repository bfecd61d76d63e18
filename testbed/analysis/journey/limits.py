"""Whether the peer's window held a sender, by TCP_INFO.

`tcpi_rwnd_limited` is the time that a sender had data and no room in the peer's window (net/ipv4/
tcp_output.c, tcp_chrono_start). It is sampled; between two samples it is taken to grow evenly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.captures import addresses

Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Socket = tuple[str, int, int, int]
"""Node, local port, and the key of the remote address (captures.addresses) with its port: clients
of one server use the same ports by chance."""


def by_socket(samples: pl.DataFrame) -> Iterator[tuple[Socket, pl.DataFrame]]:
    """The samples of each socket, in the order of time; of a 4-tuple used again all together."""
    names = ("node", "local_port", "remote_address", "remote_port")
    for key, mine in samples.sort("t_ns").group_by(*names, maintain_order=True):
        node, local, remote, remote_port = map(str, key)
        yield (node, int(local), addresses.key(remote), int(remote_port)), mine


class PeerLimits:
    """All sockets of a run."""

    def __init__(self, samples: pl.DataFrame | None) -> None:
        self._series: dict[Socket, tuple[Int64, Int64]] = {}
        if samples is None:
            return
        for socket, mine in by_socket(samples.drop_nulls("receive_window_limited_ns")):
            self._series[socket] = (
                mine["t_ns"].to_numpy().astype(np.int64),
                mine["receive_window_limited_ns"].to_numpy().astype(np.int64),
            )

    def most(self, sockets: Sequence[Socket | None], started_ns: Int64, ended_ns: Int64) -> Flags:
        """Whether each socket was held by its peer for more than half of a time."""
        limited = np.zeros(started_ns.size, np.float64)
        rows: dict[Socket, list[int]] = {}
        for row, socket in enumerate(sockets):
            if socket is not None and socket in self._series:
                rows.setdefault(socket, []).append(row)
        for socket, mine in rows.items():
            t_ns, value = self._series[socket]
            there = np.array(mine)
            limited[there] = np.interp(ended_ns[there], t_ns, value) - np.interp(
                started_ns[there], t_ns, value
            )
        return np.asarray(limited * 2 > ended_ns - started_ns, np.bool_)
