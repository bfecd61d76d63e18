"""What is private in a sandbox, and how it is made so.

Private: processes (PID namespace), interfaces, addresses, sockets and net sysctls (network
namespace), mounts (mount namespace) and, for an ordinary user, the meaning of "root" (user
namespace). Shared: files, the CPU, the clock, the kernel.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from testbed.errors import SandboxError
from testbed.sandbox import syscalls as sc

OUTER_PROC_VARIABLE: Final = "TESTBED_OUTER_PROC_FD"
"""Environment variable with the descriptor of the /proc outside, where NSpid relates inner to outer
process ids.
"""
MAPPED_VARIABLE: Final = "TESTBED_SANDBOX_USER"
"""``mapped`` in a user namespace of our own, ``root`` where the user is root outside too."""

_NAMESPACES: Final = sc.CLONE_NEWNS | sc.CLONE_NEWNET | sc.CLONE_NEWPID


def unshare_all() -> None:
    """Moves this process into new namespaces; its next child is PID 1 in there.

    Raises:
        SandboxError: the kernel refused; the message says which setting is behind it and how to
            change it.
    """
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(proc, True)
    os.environ[OUTER_PROC_VARIABLE] = str(proc)
    if os.geteuid() == 0:
        try:
            sc.unshare(_NAMESPACES)
        except PermissionError:
            pass  # root of a container, without CAP_SYS_ADMIN: try it as an ordinary user would
        else:
            os.environ[MAPPED_VARIABLE] = "root"
            return
    user, group = os.geteuid(), os.getegid()
    try:
        sc.unshare(_NAMESPACES | sc.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")
    except OSError as error:
        raise SandboxError(f"no private namespaces: {error}. {_remedy(error)}") from error
    os.environ[MAPPED_VARIABLE] = "mapped"


def _remedy(error: OSError) -> str:
    """How to get user namespaces on this machine, as far as its settings tell."""
    settings = {
        "/proc/sys/kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone=1"),
        "/proc/sys/user/max_user_namespaces": ("0", "user.max_user_namespaces=10000"),
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    }
    for path, (bad, assignment) in settings.items():
        try:
            if Path(path).read_text(encoding="ascii").strip() == bad:
                return f"Allow them with: sudo sysctl -w {assignment}"
        except FileNotFoundError:
            continue
    if Path("/.dockerenv").exists() or error.errno == errno.EPERM:
        return "In a container, start it with --privileged, or use a machine of its own."
    return "The kernel needs CONFIG_USER_NS, CONFIG_PID_NS and CONFIG_NET_NS."


def is_mapped() -> bool:
    """Whether this process is root only within a user namespace of a sandbox."""
    return os.environ.get(MAPPED_VARIABLE) == "mapped"


def outer_process_exists(process: int) -> bool:
    """Whether `process`, a process id outside of the sandbox, is alive."""
    try:
        os.stat(str(process), dir_fd=int(os.environ[OUTER_PROC_VARIABLE]))
    except FileNotFoundError:
        return False
    return True


def outer_ids() -> dict[int, int]:
    """The processes of this PID namespace: id in here -> id in the outermost one (NSpid, proc(5)).

    For a process of a sandbox; traces of the kernel carry the outer ids.
    """
    outer = int(os.environ[OUTER_PROC_VARIABLE])
    own = Path("/proc/self/ns/pid").stat().st_ino
    found = {}
    for entry in os.listdir(outer):
        if not entry.isdigit():
            continue
        try:
            if os.stat(f"{entry}/ns/pid", dir_fd=outer).st_ino != own:
                continue
            status = os.open(f"{entry}/status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=outer)
        except OSError:  # it has ended, or is none of ours to look at
            continue
        with os.fdopen(status, encoding="utf-8", errors="replace") as file:
            ids = next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
        if ids:
            found[int(ids[-1])] = int(ids[0])
    return found


def outer_threads(outer_id: int) -> list[int]:
    """The outer ids of the threads of a process but its first, as there are now."""
    outer = int(os.environ[OUTER_PROC_VARIABLE])
    try:
        tasks = os.open(f"{outer_id}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=outer)
    except OSError:  # it has ended
        return []
    try:
        with os.scandir(tasks) as entries:
            return sorted(int(one.name) for one in entries if int(one.name) != outer_id)
    finally:
        os.close(tasks)


def prepare_mounts() -> None:
    """Makes the mounts of the sandbox; to be called by its PID 1.

    - Nothing that is mounted from now on is seen outside.
    - /proc shows the sandbox's own processes.
    - For real root, /proc/sys is read-only but for /proc/sys/net, which belongs to the network
      namespace.
    - /run/netns is empty and ours, so that nodes can have names for `ip -n`.

    Raises:
        OSError: a mount was refused.
    """
    sc.mount("none", "/", None, sc.MS_REC | sc.MS_PRIVATE)
    sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    if not is_mapped():
        sc.mount("/proc/sys", "/proc/sys", None, sc.MS_BIND)
        sc.mount("/proc/sys/net", "/proc/sys/net", None, sc.MS_BIND)
        sc.mount("none", "/proc/sys", None, sc.MS_BIND | sc.MS_REMOUNT | sc.MS_RDONLY)
    replace_by_copy("/run", leave_out=("netns",))
    Path("/run/netns").mkdir(mode=0o755)


def replace_by_copy(
    folder: str, *, leave_out: tuple[str, ...] = (), only: tuple[str, ...] | None = None
) -> None:
    """Puts a tmpfs on `folder` in which what was there is there again, bound, but for `leave_out`.

    So names can be made in a folder that may not be written, or that holds names of the host. With
    `only` nothing but those names is there again.
    """
    source = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        entries = [
            entry
            for entry in os.scandir(source)
            if entry.name not in leave_out and (only is None or entry.name in only)
        ]
        sc.mount("tmpfs", folder, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=755")
        for entry in entries:
            target = Path(folder) / entry.name
            if entry.is_symlink():
                target.symlink_to(os.readlink(entry.name, dir_fd=source))
                continue
            if entry.is_dir(follow_symlinks=False):
                target.mkdir()
            else:
                target.touch()
            sc.mount(
                f"/proc/self/fd/{source}/{entry.name}", str(target), None, sc.MS_BIND | sc.MS_REC
            )
    finally:
        os.close(source)
