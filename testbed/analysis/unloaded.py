"""A run that ended before its clients were told to begin.

Rules:

- Nothing of it is a figure: no layer saw the load, so none may say that it saw no loss.
- What was recorded while it was starting stays in the captures and in the decoded tables, for who
  looks for the reason; no table is made of its packets.
"""

from __future__ import annotations

import msgspec

from testbed.analysis.evidence import Evidence
from testbed.events import LAYERS
from testbed.recording.manifest import NO_LOAD, ProbeRecord


def without_load(evidence: Evidence) -> Evidence:
    """The evidence of such a run, in which no layer observed anything."""
    blind = [ProbeRecord(layer=name, observed=False, reason=NO_LOAD) for name in LAYERS]
    return Evidence(
        manifest=msgspec.structs.replace(evidence.manifest, probes=blind),
        topology=evidence.topology,
        missing={"captures": NO_LOAD},
        notes=evidence.notes,
        damage=evidence.damage,
    )
