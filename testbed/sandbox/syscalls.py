"""The few system calls that Python 3.11 does not offer (unshare and setns came with 3.12)."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
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


_SCHED_ATTR: Final = struct.Struct("=IIQiIQQQ")
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h"""


def set_scheduler_slice(slice_ns: int) -> None:
    """Asks for turns of `slice_ns` under the normal policy: shorter ones come sooner.

    Since Linux 6.12 (kernel/sched/syscalls.c, sched_runtime of SCHED_NORMAL); earlier kernels
    ignore it. Needs no privilege.

    Raises:
        OSError: the kernel refused, or this machine's system call number is not known here.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        raise OSError(f"sched_setattr: its number on {platform.machine()} is not known")
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, 0, 0, slice_ns, 0, 0)
    _check(_libc.syscall(number, 0, attributes, 0), "sched_setattr")
