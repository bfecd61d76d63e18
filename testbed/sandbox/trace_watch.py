"""Watches over a run's instance in tracefs: `python -m testbed.sandbox.trace_watch OWNER_ID`.

    run (outside)  --lifeline-->  testbed.sandbox.trace_watch: reaps, makes the instance, waits,
                                  removes it
                   --sandbox--->  testbed.probes.tracepoints reads it

Rules:

- It is outside of the sandbox's PID namespace, in a session of its own, and deaf to signals that
  are meant for the run: SIGKILL of everything else leaves it, and then it removes the instance.
- Its lifeline is its standard input. The end of that means that the run is over, however it ended.
- Should it be killed itself, the next run's watcher reaps what it left, once its owner is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from testbed.sandbox import tracefs


def main(owner: int) -> int:
    """Makes an instance for the process `owner` and removes it when standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    try:
        root = tracefs.mounted()
        tracefs.reap(root)
        name = tracefs.name_for(owner)
        tracefs.create(root, name)
    except OSError as error:
        print(f"none no instance in tracefs: {error}", flush=True)
        return 0
    with contextlib.suppress(OSError):  # a run that is gone already reads nothing any more
        print(f"instance {name}", flush=True)
    while os.read(sys.stdin.fileno(), 4096):
        pass
    return 0 if tracefs.remove(root, name) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
