"""Rule: what makes a user namespace has one thread.

unshare(2) with CLONE_NEWUSER fails in a process with several; a library that is imported may start
some (NumPy's OpenBLAS does).
"""

from __future__ import annotations

import subprocess
import sys


def test_the_sandbox_starts_no_thread() -> None:
    code = "import os, testbed.sandbox.__main__; print(len(os.listdir('/proc/self/task')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
