"""The backpressure map: where messages waited on their way, for how long, and what made them wait.

    tables, captures -> waits of each stop -> figures over the load -> origin and sentence

Rules:

- Stops stand in the order of the way: from the client's await to the server's send() and back.
- A stop whose source is missing is not there; `Backpressure.not_observed` says why. Zero was seen
  to be zero.
- Time counts from the start of the load to its end.
"""

from testbed.analysis.pressure.measure import Pressure, PressureWindow, pressure

__all__ = ["Pressure", "PressureWindow", "pressure"]
