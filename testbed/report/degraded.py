"""What makes a run degraded, in a few words (pure).

Why: a measure near its bound, a check that nobody could make and a run that was stopped are
different things to a reader, and the status alone is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from testbed.analysis.summary import NOT_CHECKED, Reason
from testbed.report import format as scale

_COMPLETE: Final = "run complete"
"""The check of a run that was stopped (`testbed.analysis.verdict.completeness`)."""
_NEAR: Final = "the emulation came near a bound"


def degraded(reasons: Sequence[Reason]) -> str:
    """What is the case, without a full stop: ``2 checks could not be made``."""
    telling = [one for one in reasons if one.status == "degraded"]
    not_made = [one for one in telling if one.message.startswith(NOT_CHECKED)]
    stopped = [one for one in telling if one.check == _COMPLETE]
    said = []
    if stopped:
        said.append("the run was stopped before its end")
    if len(telling) > len(not_made) + len(stopped):
        said.append(_NEAR)
    if not_made:
        said.append(f"{scale.plural(len(not_made), 'check')} could not be made")
    return scale.listed(said) or "no check was made"
