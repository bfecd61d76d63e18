"""What the process inside the sandbox is told."""

from __future__ import annotations

import msgspec

from testbed.calibration.record import BackendName


class CalibrationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Its one argument, as JSON."""

    backend: BackendName
    quick: bool
    root: str
    """A folder for the files of its measurements."""
    result: str
    """Where the result is written, a `testbed.calibration.record.Backend`."""
    relay_cpu: int | None
    """A CPU that is kept free for the relay."""
    progress_fd: int
    """Descriptor of a pipe for lines of JSON (`testbed.recording.progress`)."""
