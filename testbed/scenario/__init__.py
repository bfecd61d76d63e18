"""WHAT should happen: frozen, validated, no I/O beyond reading the file that is named."""

from testbed.scenario.model import Link, Load, Scenario, Way

__all__ = ["Link", "Load", "Scenario", "Way"]
