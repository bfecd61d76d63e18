"""A recording in, its numbers out: tables, summary and verdict.

    recording -> evidence -> passages, transits, streams -> links, layers, ledger, verdict ->
    summary.json

Rules:

- Reads and writes files of the recording and nothing else; needs no privilege. A second run gives
  the same bytes.
- A part that is missing or damaged takes only what depends on it (see `evidence`).
- Tables are written by a thread of its own, each as soon as what it is made of is there. The table
  of packets, the largest, comes last of those that are made of packets: by then the memory that
  matching needed is free again.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import polars as pl

from testbed.analysis.application_errors import application_errors
from testbed.analysis.checks import judge_run
from testbed.analysis.crossings import Passage, crossing_table, passages
from testbed.analysis.decode.link import decode_link
from testbed.analysis.evidence import Evidence, load
from testbed.analysis.expectations import judge_expectations
from testbed.analysis.following import follow
from testbed.analysis.found import Found
from testbed.analysis.hosts import host_streams
from testbed.analysis.journey.build import journeys
from testbed.analysis.journey.journeys import Journeys, journey_table
from testbed.analysis.journey.why_slow import journey_summary
from testbed.analysis.layers import layers
from testbed.analysis.ledger import ledger
from testbed.analysis.ledger_tcp import explained
from testbed.analysis.links import link_direction
from testbed.analysis.metrics.http import http_summary
from testbed.analysis.observing import observing
from testbed.analysis.packet_table import packet_table
from testbed.analysis.pressure import Pressure, pressure
from testbed.analysis.summary import FORMAT, Http, Layer, Ledger, LinkDirection, Summary
from testbed.analysis.threads import Aside, both, give_back_memory, share_memory
from testbed.analysis.topology import DirectionName
from testbed.analysis.transits import Transit, transits
from testbed.analysis.unloaded import without_load
from testbed.errors import RecordingError
from testbed.recording.layout import (
    PARTIAL,
    Layout,
    create_partial,
    open_layout,
    partial,
    write_atomically,
)
from testbed.recording.manifest import read_manifest


def analyse(root: Path) -> Summary:
    """Analyses the recording in `root`.

    Writes its tables and summary.json, and returns the summary.

    Raises:
        RecordingError: `root` is no recording, its manifest cannot be read, or the results cannot
            be written.
    """
    share_memory()
    layout = open_layout(root)
    evidence = load(layout, read_manifest(layout))
    try:
        with Aside() as tables:
            _remove_results(layout)
            tables.do(lambda: _write_tables(_read_tables(layout, evidence)))
            judged = evidence if evidence.manifest.load_began else without_load(evidence)
            crossed, passed = both(lambda: passages(judged), lambda: transits(judged))
            give_back_memory()
            tables.do(lambda: _write_tables(_matched_tables(layout, judged, crossed)))
            found = _found(judged, crossed, passed)
            give_back_memory()
            seen, (travelled, mapped) = both(
                lambda: _seen(found), lambda: (journeys(found), pressure(found))
            )
            tables.do(lambda: _write_tables(_made_tables(layout, travelled, mapped)))
            summary = summarise(found, seen, travelled, mapped)
            tables.finish()
        data = msgspec.json.format(msgspec.json.encode(summary), indent=2)
        write_atomically(layout.summary, data + b"\n")
    except OSError as error:
        raise RecordingError(
            f"cannot write the analysis into {root}: {error.strerror}", where=str(root)
        ) from error
    return summary


def _found(evidence: Evidence, crossed: list[Passage], passed: list[Transit]) -> Found:
    followed = follow(evidence, crossed, passed)
    hosts = host_streams(evidence, followed)
    return Found(evidence, crossed, passed, followed, hosts, explained(hosts))


def load_summary(root: Path) -> Summary:
    """The summary that `analyse` wrote.

    Raises:
        RecordingError: `root` is no recording, was not analysed, or its summary is damaged or of
            another format.
    """
    path = open_layout(root).summary
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RecordingError(
            f"{root} was not analysed yet: run `testbed analyse {root}`", where=str(path)
        ) from None
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}", where=str(path)) from error
    try:
        found = msgspec.json.decode(data, type=dict).get("format")
        if found != FORMAT:
            raise RecordingError(
                f"{path} has format {found!r}; this version reads format {FORMAT}",
                where=str(path),
                wanted=str(FORMAT),
                got=found,
            )
        return msgspec.json.decode(data, type=Summary)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} is damaged: {error}", where=str(path)) from error


Links: TypeAlias = dict[str, dict[DirectionName, LinkDirection]]
"""Link -> direction -> its numbers."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the summary says of links and layers, which needs no journeys."""

    ledger: Ledger
    links: Links
    layers: dict[str, Layer]


def _seen(found: Found) -> _Seen:
    links: Links = {}
    for passage in found.passages:
        direction = link_direction(passage, found.evidence)
        links.setdefault(passage.way.link.name, {})[passage.way.name] = direction
    return _Seen(ledger(found), links, layers(found))


def summarise(found: Found, seen: _Seen, travelled: Journeys | None, mapped: Pressure) -> Summary:
    """The summary of a recording that was read, with its journeys and its backpressure map."""
    evidence = found.evidence
    manifest = evidence.manifest
    table = evidence.table("http")
    load = manifest.scenario.load
    kinds = () if load.mix is None else load.entries
    http = _no_http() if table is None else http_summary(table, kinds, evidence.table("asgi"))
    slow = None if travelled is None else journey_summary(travelled)
    missing = [f"not in the recording: {why}" for why in _gaps(evidence)]
    summary = Summary(
        state=manifest.state,
        failure=manifest.failure,
        verdict=judge_run(found, seen.ledger, http, seen.links, slow),
        # As it is in summary.json: lists, not tuples.
        scenario=msgspec.json.decode(msgspec.json.encode(manifest.scenario)),
        seed=manifest.seed,
        link_backend=manifest.link_backend,
        http=http,
        links=seen.links,
        layers=seen.layers,
        ledger=seen.ledger,
        backpressure=mapped.summary,
        journeys=slow,
        observing=observing(evidence),
        warnings=[
            *application_errors(evidence.table("asgi"), manifest.scenario.server_model),
            *manifest.warnings,
            *evidence.damage,
            *evidence.notes,
            *missing,
        ],
    )
    judged = judge_expectations(manifest.scenario.expect, msgspec.to_builtins(summary))
    return msgspec.structs.replace(summary, expectations=judged)


_SAMPLED: Final = ("nic", "qdisc", "ip", "tcp", "tcp_counters", "socket")
"""Tables out of samples; their layers are observed by captures and tracepoints as well."""


def _gaps(evidence: Evidence) -> list[str]:
    """What a layer that was to be observed lacks, in words.

    What was switched off is in the layers' own reasons.
    """
    observed = {probe.layer for probe in evidence.manifest.probes if probe.observed}
    captured = any(
        probe.layer == "link" and "captures" in probe.sources for probe in evidence.manifest.probes
    )
    sampled = any("inet_diag TCP_INFO" in probe.sources for probe in evidence.manifest.probes)
    gaps = []
    for name, why in sorted(evidence.missing.items()):
        group = name.partition(".")[0]
        wanted = captured if group == "captures" else group == "relay" or group in observed
        if group in _SAMPLED:
            wanted = wanted and sampled
        if wanted:
            gaps.append(why)
    return list(dict.fromkeys(gaps))


def _no_http() -> Http:
    return Http(
        requests=None,
        completed=None,
        failed=None,
        failures={},
        latency_ns=None,
        request_rate_per_s=None,
        goodput_bit_s=None,
    )


Tables: TypeAlias = Iterator[tuple[Path, Callable[[], pl.DataFrame]]]
"""Where each table goes and what makes it: the large ones are made one at a time."""


def _remove_results(layout: Layout) -> None:
    """Removes the summary and the tables of an earlier analysis, which may have had others.

    The summary first: with it a recording is an analysed one.
    """
    layout.summary.unlink(missing_ok=True)
    for folder in (layout.root / "events", layout.root / "links"):
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in (*folder.glob("*.parquet"), *folder.glob(f"*.parquet{PARTIAL}")):
            path.unlink()


def _read_tables(layout: Layout, evidence: Evidence) -> Tables:
    """Of events/<table>.parquet and links/<link>.parquet what is there once all is decoded."""
    for name, table in evidence.tables.items():
        yield layout.events(name), functools.partial(_same, table)
    for link, records in evidence.relay.items():
        yield layout.link(link), functools.partial(decode_link, link, records)


def _matched_tables(layout: Layout, evidence: Evidence, crossed: Sequence[Passage]) -> Tables:
    """The tables of packets."""
    if crossed:
        yield layout.events("crossings"), functools.partial(_crossings, crossed)
    if evidence.captures:
        yield layout.events("packets"), functools.partial(packet_table, evidence)


def _made_tables(layout: Layout, travelled: Journeys | None, mapped: Pressure) -> Tables:
    """The other tables."""
    yield layout.events("backpressure"), functools.partial(_same, mapped.windows)
    if travelled is not None:
        yield layout.events("journeys"), functools.partial(journey_table, travelled)


def _write_tables(tables: Tables) -> None:
    for path, make in tables:
        _write_table(path, make())


def _same(table: pl.DataFrame) -> pl.DataFrame:
    return table


def _crossings(passages: Sequence[Passage]) -> pl.DataFrame:
    return pl.concat([crossing_table(passage) for passage in passages])


def _write_table(path: Path, table: pl.DataFrame) -> None:
    os.close(create_partial(path))
    try:
        table.write_parquet(partial(path), compression="lz4", statistics=False)
        partial(path).rename(path)
    except (OSError, pl.exceptions.ComputeError) as error:
        partial(path).unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or error
        raise RecordingError(f"cannot write {path}: {why}", where=str(path)) from error
