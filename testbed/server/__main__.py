"""The server process: ``python -m testbed.server CONFIG_JSON``; lifeline, end: `testbed.child`.

It opens its probes, imports the application, and hands both to the module of its server model
(`testbed.scenario.servers`).

Exit codes: 0 it was told to stop; 2 the application's name is wrong, or the server cannot run it; 3
the kernel does not give what was asked for; 4 the application failed to import or to start, or an
address cannot be listened on.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from testbed.child import exit_code_of, read_config
from testbed.scenario.servers import MODELS
from testbed.server.application import load_application
from testbed.server.config import ServerConfig
from testbed.server.environment import add_packages
from testbed.server.probes import server_probes


def main() -> None:
    """Runs the server until it is told to stop."""
    config = read_config(sys.argv, ServerConfig)
    model = MODELS[config.server]
    with server_probes(config) as probes:
        add_packages(config.packages)
        loaded = load_application(config.app, Path(config.directory), model)
        importlib.import_module(model.module).run(loaded, config, probes)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
