"""The process inside the sandbox: `python -m testbed.live CONFIG_JSON`.

It tells its progress as lines of JSON on a pipe; a failure is the last line, and its exit code
that of the error.
"""

from __future__ import annotations

import os
import sys

import msgspec

from testbed.errors import TestbedError
from testbed.live.conduct import conduct, teller
from testbed.live.config import LiveConfig
from testbed.live.descriptors import raise_own_limit
from testbed.live.shell import shell
from testbed.recording.progress import Failure, encode_progress


def main(argument: str) -> int:
    """Runs the experiment or the shell; returns the exit code."""
    config = msgspec.json.decode(argument, type=LiveConfig)
    # Debian keeps /usr/sbin off an ordinary user's path; Mininet looks for ifconfig on it.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    try:
        if config.shell or config.progress_fd is None:
            shell(config)
        else:
            usual = raise_own_limit()
            conduct(msgspec.structs.replace(config, descriptors=usual), teller(config.progress_fd))
    except TestbedError as error:
        if config.progress_fd is None:
            print(f"testbed: error: {error}", file=sys.stderr)
        else:
            failure = Failure(exit_code=error.exit_code, message=str(error), where=error.where)
            os.write(config.progress_fd, encode_progress(failure))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
