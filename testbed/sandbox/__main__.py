"""The process that makes a sandbox: `python -m testbed.sandbox LIFELINE_FD COMMAND...`.

Rules:

- Nothing is created outside: no name, no file, no interface, no setting.
- PID 1 of the sandbox ends when the command ends, when the lifeline closes (whoever started us is
  gone) or when this process dies (parent-death signal). With PID 1 the kernel ends every process of
  the namespace, and with the last of them every interface (pid_namespaces(7),
  network_namespaces(7)).
- SIGINT, SIGTERM and SIGHUP reach the command once, whoever got them.

Why a chain of three processes: the one that unshares a PID namespace stays outside of it, and PID
1 must reap orphans and must not be the program itself, whose subprocess calls would then steal each
other's children.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Sequence

from testbed.errors import EXIT_MACHINE_CANNOT, SandboxError
from testbed.sandbox import namespaces
from testbed.sandbox.syscalls import die_with_parent

_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _forwarded() -> tuple[signal.Signals, ...]:
    """What is passed on: a terminal gives its Ctrl-C to the command itself, unless detached."""
    detached = os.getsid(0) == os.getpid()
    return _ALL if detached else (signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str]) -> int:
    """Runs the command in a new sandbox; returns its exit code, or 128 + signal."""
    lifeline, command = int(arguments[0]), list(arguments[1:])
    parent = os.getpid()
    forwarded = _forwarded()
    # SIGCHLD before the fork: a child that ends before its parent runs again must not be missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_ALL, signal.SIGCHLD})
    try:
        namespaces.unshare_all()
    except SandboxError as error:
        print(f"testbed: error: {error}", file=sys.stderr)
        return EXIT_MACHINE_CANNOT
    child = os.fork()
    if child == 0:
        os._exit(_init(command, lifeline, parent, forwarded))
    os.close(lifeline)
    while True:
        received = signal.sigwait({*forwarded, signal.SIGCHLD})
        if received != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, received)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return _exit_code(status)


def _init(
    command: list[str], lifeline: int, parent: int, forwarded: tuple[signal.Signals, ...]
) -> int:
    """PID 1: prepares the mounts, starts the command, reaps, and ends when it should."""
    try:
        die_with_parent(signal.SIGKILL)
        # The parent may have died before the line above. Seen from in here its id is 0, alive or
        # not.
        if not namespaces.outer_process_exists(parent):
            return EXIT_MACHINE_CANNOT
        namespaces.prepare_mounts()
    except (OSError, SandboxError) as error:
        print(f"testbed: error: cannot set up the sandbox: {error}", file=sys.stderr)
        return EXIT_MACHINE_CANNOT
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.close(lifeline)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"testbed: error: cannot run {command[0]}: {error}", file=sys.stderr)
            os._exit(EXIT_MACHINE_CANNOT)
    return _watch(child, lifeline, forwarded)


def _watch(child: int, lifeline: int, forwarded: tuple[signal.Signals, ...]) -> int:
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (*_ALL, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    exit_code = _reap(child)  # it may have ended while the signals were blocked
    while exit_code is None:
        ready, _, _ = select.select([wake_read, lifeline], [], [])
        if lifeline in ready and not os.read(lifeline, 1):
            return 128 + signal.SIGHUP
        if wake_read in ready:
            for woken in os.read(wake_read, 256):
                if woken in forwarded:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, woken)
        exit_code = _reap(child)
    return exit_code


def _reap(child: int) -> int | None:
    """Takes every ended process; the command's exit code when it was among them."""
    exit_code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return exit_code
        if ended == 0:
            return exit_code
        if ended == child:
            exit_code = _exit_code(status)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
