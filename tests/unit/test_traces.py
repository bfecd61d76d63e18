"""Rule: the traces that come with the testbed are what their builder makes, and Mahimahi's format
once the lines of comment are gone.
"""

from __future__ import annotations

from collections import Counter

import pytest

from testbed.scenario import notation
from testbed.scenario.catalogue import traces
from testbed.scenario.impairments import Trace
from testbed.scenario.tables import read_trace, trace_names, trace_path
from tests.builders.traces import TRACES, text_of


def test_every_trace_is_made_by_the_builder() -> None:
    assert trace_names() == tuple(sorted(TRACES))


@pytest.mark.parametrize("name", sorted(TRACES))
def test_the_file_is_what_the_builder_makes(name: str) -> None:
    assert trace_path(name).read_text(encoding="ascii") == text_of(name)


@pytest.mark.parametrize("name", sorted(TRACES))
def test_without_comments_it_is_a_plain_file_of_mahimahi(name: str) -> None:
    lines = trace_path(name).read_text(encoding="ascii").splitlines()
    plain = [line for line in lines if not line.startswith("#")]
    # mahimahi's link_queue.cc: no empty line, digits only, not descending, and not all 0.
    assert all(line.isdigit() for line in plain)
    times = [int(line) for line in plain]
    assert times == sorted(times)
    assert times[-1] > 0
    assert tuple(times) == read_trace(name)


@pytest.mark.parametrize("name", sorted(TRACES))
def test_it_is_small_enough_to_be_kept_in_the_package(name: str) -> None:
    assert trace_path(name).stat().st_size < 40_000


def test_the_list_tells_what_each_is() -> None:
    assert {entry.name for entry in traces()} == set(TRACES)
    for entry in traces():
        assert entry.summary.startswith(TRACES[entry.name][1])
        assert "Mbit/s, repeats after " in entry.summary
        assert len(entry.summary) <= 98


def rates_mbit_s(name: str, window_ms: int) -> list[float]:
    times = read_trace(name)
    counts = Counter((time - 1) // window_ms for time in times)
    return [counts[k] * 0.012 * 1000 / window_ms for k in range(times[-1] // window_ms)]


def test_steady() -> None:
    found = notation.parse_capacity("trace steady_12mbit")
    assert isinstance(found, Trace)
    assert found.mean_bit_s == 12_000_000


def test_a_drive_fades_and_recovers() -> None:
    rates = rates_mbit_s("cellular_drive", 100)
    assert 15 < max(rates) <= 20.2
    assert min(rates) < 0.6
    fades = sum(rate < 0.7 for rate in rates) / len(rates)
    assert 0.1 < fades < 0.6


def test_a_handover_every_15_s() -> None:
    times = read_trace("satellite_handover")
    gaps = [
        (earlier, later) for earlier, later in zip((0, *times), times, strict=False)
        if later - earlier >= 100
    ]  # fmt: skip
    assert [later // 1000 for _, later in gaps] == [0, 15]
    assert all(300 <= later - earlier < 320 for earlier, later in gaps)


def test_bursts() -> None:
    times = read_trace("wifi_bursts")
    bursts = Counter(times)
    assert min(list(bursts.values())[:-1]) >= 4
    assert max(bursts.values()) <= 17
    waits = [later - earlier for earlier, later in zip(sorted(bursts), sorted(bursts)[1:])]  # noqa: B905
    assert 70 < max(waits) <= 80
