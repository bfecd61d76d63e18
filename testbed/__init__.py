"""A network laboratory for HTTP in Python, on one Linux machine.

from testbed import Link, Load, Scenario, run
recording = run(Scenario(topology="dumbbell", link=Link(delay="20ms", loss="1%")))
print(recording.verdict.status, recording.http.latency_ns)
"""

__version__ = "0.1.0"

from testbed.run import Recording, run
from testbed.scenario import Link, Load, Scenario

__all__ = ["Link", "Load", "Recording", "Scenario", "__version__", "run"]
