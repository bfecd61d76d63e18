"""Makes the series of `testbed.analysis.series` out of the tables of an analysed recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis import series_links
from testbed.analysis.crossings import Crossing
from testbed.analysis.pressure import PressureWindow
from testbed.analysis.series import (
    MAX_POINTS,
    ChangeMark,
    ConnectionSeries,
    LatencySeries,
    PressureSeries,
    QueueSeries,
    ReceiveSeries,
    Series,
)
from testbed.analysis.tables import read_table
from testbed.analysis.topology import Topology, Way
from testbed.events.http import DROPPED, HttpRequest
from testbed.events.link import LinkPacket
from testbed.events.qdisc import QdiscSample
from testbed.events.socket import SocketSample
from testbed.events.tcp import TcpSample
from testbed.events.tracepoints import ReceivePath
from testbed.recording.layout import Layout, open_layout
from testbed.recording.manifest import NO_LOAD, Manifest, read_manifest

MAX_CONNECTIONS: Final = 32

Times = npt.NDArray[np.int64]


class _Tables:
    """The tables of a recording, read when they are asked for."""

    def __init__(self, layout: Layout, manifest: Manifest) -> None:
        self._layout = layout
        self._began = manifest.load_began
        self._off = {p.layer: p.reason for p in manifest.probes if not p.observed}
        self.missing: dict[str, str] = {}

    def events(self, name: str, row: type[msgspec.Struct], series: str) -> pl.DataFrame | None:
        """The table `name`, or None with a reason noted for `series`."""
        return self._read(self._layout.events(name), row, series)

    def link(self, name: str) -> pl.DataFrame | None:
        """The relay's log of a link, or None."""
        return self._read(self._layout.link(name), LinkPacket, None)

    def _read(
        self, path: Path, row: type[msgspec.Struct], series: str | None
    ) -> pl.DataFrame | None:
        if not self._began or not path.is_file():
            if series:
                why = self._off.get(path.stem) or f"there is no {path.parent.name}/{path.name}"
                self.missing.setdefault(series, why if self._began else NO_LOAD)
            return None
        return read_table(path, row)


def build_series(root: Path) -> Series:
    """See `testbed.analysis.series.build`."""
    layout = open_layout(root)
    manifest = read_manifest(layout)
    topology = Topology(manifest)
    tables = _Tables(layout, manifest)
    http = tables.events("http", HttpRequest, "latency")
    crossings = _crossings(tables, topology)
    origin, end = manifest.load_started_ns, manifest.load_ended_ns
    if origin is None:
        origin = _first(http, crossings)
    if end is None:
        end = max(origin, _last(http, crossings))
    span = (origin, end)
    latency = [] if http is None else [_latency(rows, origin) for rows in _by_process(_made(http))]
    throughputs, losses, delays = [], [], []
    for way in topology.ways:
        rows = crossings.get((way.link.name, way.name))
        if rows is None or not rows.height:
            continue
        steps = series_links.capacity_steps(manifest, way, origin)
        throughputs.append(series_links.throughput(way, rows, span, steps))
        losses.append(series_links.losses(way, rows, origin))
        delays += series_links.delays(way, rows, span)
    if not throughputs:
        why = "neither captures nor a relay's log" if manifest.load_began else NO_LOAD
        tables.missing["throughput"] = why
        tables.missing["losses"] = tables.missing["delays"] = tables.missing["throughput"]
    return Series(
        origin_ns=origin,
        duration_ns=end - origin,
        latency=latency,
        throughput=throughputs,
        queues=list(_queues(tables.events("qdisc", QdiscSample, "queues"), topology, origin)),
        losses=losses,
        delays=delays,
        connections=_connections(
            tables.events("tcp", TcpSample, "connections"),
            tables.events("socket", SocketSample, "connections"),
            origin,
        ),
        receives=_receives(tables.events("receive_path", ReceivePath, "")),
        pressure=list(_pressure(tables.events("backpressure", PressureWindow, "pressure"), origin)),
        changes=[
            ChangeMark(change.at_ns - origin, change.link, change.direction, change.text)
            for change in manifest.changes[:MAX_POINTS]
        ],
        missing=tables.missing,
    )


def _crossings(tables: _Tables, topology: Topology) -> dict[tuple[str, str], pl.DataFrame]:
    """Per direction: sent_ns, received_ns, size_bytes, lost.

    From the captures, else from the relay's log.
    """
    found: dict[tuple[str, str], pl.DataFrame] = {}
    captured = tables.events("crossings", Crossing, "")
    for way in topology.ways:
        rows = None
        log = tables.link(way.link.name)
        if log is not None:
            log = log.filter(pl.col("direction") == way.name)
        if captured is not None:
            rows = captured.filter(
                (pl.col("link") == way.link.name) & (pl.col("direction") == way.name)
            ).select("sent_ns", "received_ns", "size_bytes", "relay_number", "copy")
            both = rows["sent_ns"].count() and rows["received_ns"].count()
            if not both:
                rows = None
        if rows is not None:
            lost = pl.col("sent_ns").is_not_null() & pl.col("received_ns").is_null()
            if log is not None:
                gone = log.filter(pl.col("fate") == "lost")["number"]
                lost = lost & pl.col("relay_number").is_in(gone.implode())
            found[way.link.name, way.name] = rows.with_columns(lost.fill_null(False).alias("lost"))
        elif log is not None:
            found[way.link.name, way.name] = log.select(
                pl.col("arrival_ns").alias("sent_ns"),
                pl.col("departure_ns").alias("received_ns"),
                "size_bytes",
                "copy",
                (pl.col("fate") == "lost").alias("lost"),
            )
    return found


def _receives(table: pl.DataFrame | None) -> list[ReceiveSeries]:
    if table is None:
        return []
    known = table.drop_nulls("interrupt_to_socket_ns").sort("interrupt_to_socket_ns")
    found = []
    for (start,), rows in sorted(known.group_by("start"), key=lambda part: str(part[0])):
        values = rows["interrupt_to_socket_ns"].to_numpy()
        places = np.unique(np.linspace(0, values.size - 1, MAX_POINTS).astype(np.intp))
        found.append(ReceiveSeries(str(start), values.size, values[places].tolist()))
    return found


def _first(http: pl.DataFrame | None, crossings: dict[tuple[str, str], pl.DataFrame]) -> int:
    times = [rows["sent_ns"].min() for rows in crossings.values()]
    times.append(None if http is None else http["intended_ns"].min())
    return min((int(t) for t in times if t is not None), default=0)  # type: ignore[arg-type]


def _last(http: pl.DataFrame | None, crossings: dict[tuple[str, str], pl.DataFrame]) -> int:
    times = [rows["received_ns"].max() for rows in crossings.values()]
    times.append(None if http is None else http["ended_ns"].max())
    return max((int(t) for t in times if t is not None), default=0)  # type: ignore[arg-type]


def _by_process(http: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for process in http["process"].unique(maintain_order=True):
        yield http.filter(pl.col("process") == process)


def _made(http: pl.DataFrame) -> pl.DataFrame:
    """The last attempt of each request that was made: what was dropped has no latency."""
    dropped = pl.col("failure").cast(pl.String).eq_missing(DROPPED)
    return http.filter(~pl.col("retried") & ~dropped)


def _latency(rows: pl.DataFrame, origin: int) -> LatencySeries:
    begun = pl.coalesce("first_intended_ns", "intended_ns")
    rows = rows.with_columns(begun_ns=begun).sort("begun_ns", "number")
    keep = np.ones(rows.height, np.bool_)
    if rows.height > MAX_POINTS:
        latency = rows["latency_ns"].to_numpy()
        failed = rows["failure"].is_not_null().to_numpy()
        slowest = np.argsort(latency, kind="stable")[-MAX_POINTS // 10 :]
        keep[:] = False
        keep[:: -(-rows.height // (MAX_POINTS // 2))] = True
        keep[slowest] = True
        keep[np.flatnonzero(failed)[: MAX_POINTS // 4]] = True
    kept = rows.filter(pl.Series(keep))
    return LatencySeries(
        process=str(rows["process"][0]),
        node=str(rows["node"][0]),
        t_ns=(kept["begun_ns"] - origin).to_list(),
        latency_ns=kept["latency_ns"].to_list(),
        failed=kept["failure"].is_not_null().to_list(),
        request_id=kept["request_id"].to_list(),
        left_out=rows.height - kept.height,
    )


def _queues(table: pl.DataFrame | None, topology: Topology, origin: int) -> Iterator[QueueSeries]:
    """The queues that hold packets.

    Of an interface the leaf qdiscs, its root only where it has no leaf.
    """
    if table is None:
        return
    real = table.filter(pl.col("kind") != "noqueue")
    keys = real.select("node", "interface", "handle", "parent").unique(maintain_order=True)
    parents = set(keys.filter(pl.col("parent") != "root").select("node", "interface").iter_rows())
    for node, interface, handle, parent in keys.sort(pl.all()).iter_rows():
        if parent == "root" and (node, interface) in parents:
            continue
        rows = real.filter(
            (pl.col("node") == node)
            & (pl.col("interface") == interface)
            & (pl.col("handle") == handle)
        ).sort("t_ns")
        way = topology.sent_over.get((node, interface))
        yield _queue(rows, way, origin)


def _queue(rows: pl.DataFrame, way: Way | None, origin: int) -> QueueSeries:
    step = max(1, -(-rows.height // MAX_POINTS))
    first = int(rows["dropped_packets"][0])
    bucket = pl.int_range(pl.len()) // step
    longest = rows.group_by(bucket.alias("bucket"), maintain_order=True).agg(
        pl.all().sort_by("backlog_packets").last()
    )
    settings = None if way is None else way.settings
    return QueueSeries(
        node=str(rows["node"][0]),
        interface=str(rows["interface"][0]),
        kind=str(rows["kind"][0]),
        handle=str(rows["handle"][0]),
        t_ns=(longest["t_ns"] - origin).to_list(),
        packets=longest["backlog_packets"].to_list(),
        bytes=longest["backlog_bytes"].to_list(),
        limit_packets=None if settings is None else settings.queue_packets,
        limit_bytes=None if settings is None else settings.queue_bytes,
        dropped_packets=(longest["dropped_packets"] - first).to_list(),
        link=None if way is None else way.link.name,
        direction=None if way is None else way.name,
    )


def _pressure(table: pl.DataFrame | None, origin: int) -> Iterator[PressureSeries]:
    if table is None:
        return
    stop = ["layer", "node", "direction", "what", "unit", "window_ns"]
    for (layer, node, _, what, unit, window_ns), rows in table.group_by(stop, maintain_order=True):
        yield PressureSeries(
            layer=str(layer),
            node=str(node),
            what=str(what),
            unit=str(unit),
            window_ns=int(window_ns),
            t_ns=(rows["t_ns"] - origin).to_list(),
            waited_ratio=(rows["waited_ns"] / rows["window_ns"]).to_list(),
            amount=rows["amount"].to_list(),
        )


def _connections(
    tcp: pl.DataFrame | None, sockets: pl.DataFrame | None, origin: int
) -> list[ConnectionSeries]:
    """The connections that carried most, loopback left out."""
    if tcp is None or not tcp.height:
        return []
    inside = pl.col("local_address").str.starts_with("127.") | (pl.col("local_address") == "::1")
    tcp = tcp.filter(~inside)
    carried = (
        tcp.group_by("node", "cookie")
        .agg(
            (
                pl.col("bytes_acked").max().fill_null(0)
                + pl.col("bytes_received").max().fill_null(0)
            ).alias("bytes")
        )
        .sort("bytes", "node", "cookie", descending=[True, False, False])
        .head(MAX_CONNECTIONS)
    )
    if sockets is not None:
        queues = sockets.select("t_ns", "node", "cookie", "receive_queue", "send_queue")
        tcp = tcp.join(queues, on=["t_ns", "node", "cookie"], how="left", maintain_order="left")
    else:
        tcp = tcp.with_columns(
            pl.lit(None, pl.Int64).alias(n) for n in ("receive_queue", "send_queue")
        )
    found = []
    for node, cookie, _ in carried.iter_rows():
        rows = tcp.filter((pl.col("node") == node) & (pl.col("cookie") == cookie)).sort("t_ns")
        kept = rows.gather_every(max(1, -(-rows.height // MAX_POINTS)))
        found.append(
            ConnectionSeries(
                node=node,
                local=_end(rows["local_address"][0], rows["local_port"][0]),
                remote=_end(rows["remote_address"][0], rows["remote_port"][0]),
                t_ns=(kept["t_ns"] - origin).to_list(),
                congestion_window_packets=kept["congestion_window_packets"].to_list(),
                in_flight_packets=kept["in_flight_packets"].to_list(),
                rtt_ns=kept["rtt_ns"].to_list(),
                not_sent_bytes=kept["not_sent_bytes"].to_list(),
                receive_queue_bytes=kept["receive_queue"].to_list(),
                send_queue_bytes=kept["send_queue"].to_list(),
            )
        )
    return found


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
