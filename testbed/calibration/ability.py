"""What `testbed doctor` says of the last calibration."""

from __future__ import annotations

from testbed.calibration import store
from testbed.doctor import Ability


def calibrated() -> Ability:
    """Whether this machine was calibrated; no run needs it."""
    from testbed.report.format import rate

    stored = store.read()
    found = stored.calibration
    if found is None:
        detail = stored.reason
    else:
        limits = {backend.name: backend.limits for backend in found.backends if backend.limits}
        known = [f"{name} up to {rate(each.capacity_bit_s)}" for name, each in limits.items()]
        detail = f"{found.measured_utc.partition('T')[0]}: {', '.join(known) or 'nothing faithful'}"
    return Ability(
        "calibration",
        found is not None,
        detail,
        "" if found else store.AGAIN,
        "warnings of `testbed run` about links that this machine cannot do faithfully",
        False,
    )
