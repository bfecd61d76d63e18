"""Rule: the benchmark measures every number of the relay and of the bare relay that it is compared
with.

As small as it can be: whether the numbers are good is not a test's business.
"""

from __future__ import annotations

import pytest

from benchmarks.relay.__main__ import measure
from benchmarks.relay.results import METRICS, RATES
from benchmarks.relay.subjects import BARE, OURS
from testbed.network.tools import locate


@pytest.mark.skipif(locate("cc") is None, reason="no C compiler on this machine")
def test_the_relay_is_measured_against_the_bare_relay() -> None:
    report = measure(1, tcp_s=1, flood_s=0.1, probe_s=0.1, only=[OURS.name, BARE.name])
    assert [row.subject for row in report.rows] == [OURS.name, BARE.name]
    for row in report.rows:
        assert row.problems == []
        assert set(row.values) == set(METRICS)
        assert all(value.median > 0 for value in row.values.values())
        assert set(row.ratios) == set(RATES)
