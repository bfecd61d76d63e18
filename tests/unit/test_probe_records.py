"""What each layer is observed by is said before the run, and why it is not."""

from __future__ import annotations

from typing import get_args

import pytest

from testbed.events import LAYERS
from testbed.live.observers import probe_records
from testbed.scenario import Probes
from tests.unit.plans import pair, plan_of

IN_PROCESS = ("syscall", "event_loop")
"""Layers that are seen from within the processes, and only with ``all``."""


@pytest.mark.parametrize("probes", get_args(Probes))
def test_every_layer_has_a_record_with_a_source_or_a_reason(probes: Probes) -> None:
    records = probe_records(probes, plan_of(pair))
    assert [record.layer for record in records] == list(LAYERS)
    for record in records:
        assert record.observed == bool(record.sources) == (not record.reason)


@pytest.mark.parametrize("probes", get_args(Probes))
@pytest.mark.parametrize("layer", IN_PROCESS)
def test_what_only_all_observes(layer: str, probes: Probes) -> None:
    [record] = [one for one in probe_records(probes, plan_of(pair)) if one.layer == layer]
    assert record.observed == (probes == "all")
    assert record.reason == ("" if probes == "all" else f"switched off (--probes {probes})")
