"""How generated examples are made, for all tests: the same ones in every run, kept nowhere.

No time limit for an example: the CPUs may be shared with others. No database: a checkout may belong
to somebody else.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("testbed", derandomize=True, database=None, deadline=None)
settings.load_profile("testbed")
