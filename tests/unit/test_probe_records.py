"""What each layer is observed by is said before the run, and why it is not."""

from __future__ import annotations

import pytest

from testbed.errors import ScenarioError
from testbed.events import LAYERS
from testbed.live.observers import probe_records
from testbed.scenario import Scenario
from tests.unit.plans import pair, plan_of

PROBES = ("all", "light", "none", "asgi,samples")
IN_PROCESS = ("syscall", "event_loop")
"""Layers that are seen from within the processes, and only with ``all``."""


@pytest.mark.parametrize("probes", PROBES)
def test_every_layer_has_a_record_with_a_source_or_a_reason(probes: str) -> None:
    records = probe_records(probes, plan_of(pair))
    assert [record.layer for record in records] == list(LAYERS)
    for record in records:
        assert record.observed == bool(record.sources) == (not record.reason)


@pytest.mark.parametrize("probes", PROBES)
@pytest.mark.parametrize("layer", IN_PROCESS)
def test_what_only_all_observes(layer: str, probes: str) -> None:
    [record] = [one for one in probe_records(probes, plan_of(pair)) if one.layer == layer]
    assert record.observed == (probes == "all")
    assert record.reason == ("" if probes == "all" else f"switched off (--probes {probes})")


@pytest.mark.parametrize(
    ("probes", "observed"),
    [
        ("captures", {"link", "tcp", "http"}),
        ("samples", {"nic", "qdisc", "ip", "tcp", "socket", "http"}),
        ("syscall, asgi", {"syscall", "asgi", "http"}),
    ],
)
def test_probes_by_name(probes: str, observed: set[str]) -> None:
    records = probe_records(probes, plan_of(pair))
    assert {one.layer for one in records if one.observed} == observed


@pytest.mark.parametrize("probes", ["", "most", "captures,captures", "all,asgi", "captures;asgi"])
def test_probes_that_there_are_not(probes: str) -> None:
    with pytest.raises(ScenarioError, match="probes"):
        Scenario(topology="dumbbell", probes=probes)
