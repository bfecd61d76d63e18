"""Whether this environment's pytest knows the plugin by itself."""

from __future__ import annotations

from importlib.metadata import entry_points


def options_of_plugin() -> list[str]:
    """pytest's options that load the plugin: none where the project is installed."""
    installed = any(
        point.value == "testbed.pytest_plugin" for point in entry_points(group="pytest11")
    )
    return [] if installed else ["-p", "testbed.pytest_plugin"]
