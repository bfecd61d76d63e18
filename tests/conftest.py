"""What holds for all tests.

How generated examples are made: the same ones in every run, kept nowhere. No time limit for an
example: the CPUs may be shared with others. No database: a checkout may belong to somebody else.

No run is warned of what a calibration of this machine found: tests look for state where nothing is.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("testbed", derandomize=True, database=None, deadline=None)
settings.load_profile("testbed")

os.environ["XDG_STATE_HOME"] = "/nonexistent"
