"""A network laboratory for HTTP in Python, on one Linux machine.

from testbed import Link, Load, Scenario, run
recording = run(Scenario(topology="dumbbell", link=Link(delay="20ms", loss="1%")))
print(recording.verdict.status, recording.http.latency_ns)
"""

from testbed.run import Recording, run
from testbed.running import Running, start
from testbed.scenario import Link, Load, Scenario, Way
from testbed.version import VERSION

__version__ = VERSION

__all__ = [
    "Link",
    "Load",
    "Recording",
    "Running",
    "Scenario",
    "Way",
    "__version__",
    "run",
    "start",
]
