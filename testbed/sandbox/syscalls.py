"""The few system calls that Python 3.11 does not offer (unshare and setns came with 3.12)."""

from __future__ import annotations

import ctypes
import os
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
"""include/uapi/linux/sched.h"""

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
"""include/uapi/linux/mount.h"""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_TIMERSLACK: Final = 29
"""include/uapi/linux/prctl.h"""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError naming the call."""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare({flags:#x})")


def setns(descriptor: int, kind: int) -> None:
    """setns(2). Raises OSError naming the call."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), f"setns({kind:#x})")


def mount(
    source: str, target: str, kind: str | None = None, flags: int = 0, data: str = ""
) -> None:
    """mount(2). Raises OSError naming source and target."""
    _check(
        _libc.mount(
            source.encode(),
            target.encode(),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            data.encode() if data else None,
        ),
        f"mount {kind or source} on {target}",
    )


def die_with_parent(signal_number: int) -> None:
    """Asks the kernel for `signal_number` when the parent thread ends (PR_SET_PDEATHSIG)."""
    _check(
        _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0), "PR_SET_PDEATHSIG"
    )


def set_timer_slack(slack_ns: int) -> None:
    """Timer slack of this thread (PR_SET_TIMERSLACK); the kernel's default is 50 us."""
    _check(_libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(slack_ns), 0, 0, 0), "PR_SET_TIMERSLACK")


_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
"""/usr/include/malloc.h"""


def keep_freed_memory(most_bytes: int) -> None:
    """Asks malloc not to give memory back to the kernel and to take much at once (mallopt(3)).

    For a process whose frames come and go by the thousand: without it each wave of them costs page
    faults. A C library that has no mallopt is left as it is.
    """
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, ctypes.c_int(most_bytes))
        mallopt(_M_TOP_PAD, ctypes.c_int(most_bytes // 16))
