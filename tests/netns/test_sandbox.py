"""Rule: what happens in a sandbox stays in it, and nothing of it outlives any of the processes that
make it up: whoever starts it, the process that makes it, its PID 1, the command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from testbed.errors import EXIT_MACHINE_CANNOT
from testbed.sandbox.launcher import Sandbox
from tests.support.people import REPOSITORY, environment
from tests.support.process_table import (
    END_S,
    children,
    members,
    pid_namespace,
    wait_for_end,
    watched,
)
from tests.support.sandboxes import in_sandbox

PATH = "PATH=$PATH:/usr/sbin:/sbin; "
"""An ordinary user's has no sbin."""


@pytest.fixture(params=["who runs the tests", "ordinary user"])
def ordinary_user(request: pytest.FixtureRequest) -> bool:
    ordinary: bool = request.param == "ordinary user"
    if not ordinary and os.geteuid() != 0:
        pytest.skip("who runs the tests is an ordinary user: the other case is this one")
    return ordinary


def sh(script: str, *, ordinary_user: bool = False) -> subprocess.CompletedProcess[str]:
    return in_sandbox(["sh", "-c", PATH + script], ordinary_user=ordinary_user)


def output_of(script: str, *, ordinary_user: bool = False) -> str:
    done = sh(script, ordinary_user=ordinary_user)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_is_process_2_and_sees_no_other(ordinary_user: bool) -> None:
    seen = output_of("echo $$; ls /proc | grep -x '[0-9]*'", ordinary_user=ordinary_user)
    own, *others = seen.split()
    assert own == "2"
    # PID 1, the shell, and the two processes of the pipe.
    assert sorted(map(int, others)) == [1, 2, 3, 4]


def test_the_only_interface_is_a_loopback_that_is_down(ordinary_user: bool) -> None:
    text = output_of("ip -o link", ordinary_user=ordinary_user)
    (line,) = text.splitlines()
    assert "lo: <LOOPBACK>" in line


def test_there_is_no_way_out(ordinary_user: bool) -> None:
    assert output_of("ip route; ip -6 route", ordinary_user=ordinary_user) == ""


def test_every_namespace_that_matters_is_its_own(ordinary_user: bool) -> None:
    kinds = ["pid", "mnt", "net", *(["user"] if ordinary_user else [])]
    script = "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds)
    inside = output_of(script, ordinary_user=ordinary_user).split()
    outside = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds]
    assert [a for a, b in zip(inside, outside, strict=True) if a == b] == []


def test_run_netns_is_empty_and_stays_inside(ordinary_user: bool) -> None:
    before = names_in(Path("/run/netns"))
    inside = output_of(
        "ls /run/netns; ip netns add only-here; ls /run/netns", ordinary_user=ordinary_user
    )
    assert inside.split() == ["only-here"]
    assert names_in(Path("/run/netns")) == before


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_mounts_stay_inside(ordinary_user: bool) -> None:
    before = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    inside = output_of(
        "mount -t tmpfs -o size=4k only-here /mnt && grep -c only-here /proc/self/mountinfo",
        ordinary_user=ordinary_user,
    )
    assert inside == "1\n"
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == before


def test_sysctls_of_the_machine_cannot_be_written(ordinary_user: bool) -> None:
    # The value that it has already, so that a failure of this test changes nothing either.
    path = "/proc/sys/vm/swappiness"
    done = sh(f"cat {path} > {path}", ordinary_user=ordinary_user)
    assert done.returncode != 0
    expected = "Permission denied" if ordinary_user else "Read-only file system"
    assert expected in done.stderr


def test_net_sysctls_can_be_written_and_are_its_own(ordinary_user: bool) -> None:
    path = "/proc/sys/net/ipv4/ip_default_ttl"
    outside = Path(path).read_text(encoding="ascii")
    assert outside != "77\n"
    inside = output_of(f"echo 77 > {path}; cat {path}", ordinary_user=ordinary_user)
    assert inside == "77\n"
    assert Path(path).read_text(encoding="ascii") == outside


def test_the_command_is_root_inside_and_keeps_its_folder(ordinary_user: bool) -> None:
    assert output_of("id -u; pwd", ordinary_user=ordinary_user) == f"0\n{REPOSITORY}\n"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("exit 0", 0, id="0"),
        pytest.param("exit 3", 3, id="3"),
        pytest.param("exit 255", 255, id="255"),
        pytest.param("kill -KILL $$", 128 + signal.SIGKILL, id="SIGKILL"),
        pytest.param("kill -TERM $$", 128 + signal.SIGTERM, id="SIGTERM"),
        pytest.param("sleep 1000 & exit 5", 5, id="with a child that would stay"),
    ],
)
def test_the_exit_code_is_the_commands(script: str, code: int) -> None:
    with Sandbox(["sh", "-c", script]) as sandbox:
        assert sandbox.wait(END_S) == code


def test_a_command_that_is_not_there_is_an_inability_with_its_name() -> None:
    done = in_sandbox(["/no/such/command"])
    assert done.returncode == EXIT_MACHINE_CANNOT
    assert done.stderr.startswith("testbed: error: cannot run /no/such/command: ")


def test_orphans_are_reaped() -> None:
    # The shell's child dies after its parent: PID 1 must take it, or it would stay a zombie.
    script = (
        "(true &); for try in $(seq 1000); do "
        "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null || break; done; "
        "! grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null"
    )
    assert sh(script).returncode == 0


COUNT_SIGNALS = """\
import signal
numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("ready", flush=True)
received = signal.sigwait(numbers)
again = signal.sigtimedwait(numbers, 0.2)
print(signal.Signals(received).name, again)
raise SystemExit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_reach_the_command_once(number: signal.Signals) -> None:
    command = [sys.executable, "-c", COUNT_SIGNALS]
    with Sandbox(command, stdout=subprocess.PIPE) as sandbox:
        assert sandbox.process.stdout is not None
        with sandbox.process.stdout as said:
            assert said.readline() == b"ready\n"
            sandbox.process.send_signal(number)
            assert said.read() == f"{number.name} None\n".encode()
        assert sandbox.wait(END_S) == 7


def test_closing_ends_a_command_that_ignores_every_signal() -> None:
    script = "trap '' INT TERM HUP; echo ready; while :; do sleep 1000; done"
    sandbox = Sandbox(["sh", "-c", script], stdout=subprocess.PIPE)
    assert sandbox.process.stdout is not None
    with sandbox.process.stdout as said:
        assert said.readline() == b"ready\n"
        (init,) = children(sandbox.process.pid)
        with watched(members(pid_namespace(init))) as alive:
            sandbox.close()
            wait_for_end(alive, within_s=0)


class Chain(NamedTuple):
    """The processes of a sandbox, from outside to inside."""

    launcher: int
    maker: int
    init: int
    command: int
    namespace: str
    """Of the sandbox's processes."""


LAUNCHER = """\
import sys
from testbed.sandbox.launcher import Sandbox
with Sandbox(sys.argv[1:]) as sandbox:
    sys.exit(sandbox.wait())
"""
FAMILY = "setsid sleep 1000 & sleep 1001 & (trap '' TERM HUP; sleep 1002) & echo ready; wait"
"""A command with children: one in a session of its own, one that ignores signals."""


@contextmanager
def chain() -> Iterator[Chain]:
    """A launcher in a process of its own, with a sandbox full of processes."""
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, "sh", "-c", FAMILY],
        stdout=subprocess.PIPE,
        env=environment(),
    )
    try:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"ready\n"
        (maker,) = children(launcher.pid)
        (init,) = children(maker)
        (command,) = children(init)
        yield Chain(launcher.pid, maker, init, command, pid_namespace(init))
    finally:
        launcher.kill()
        launcher.communicate()


@pytest.mark.parametrize("victim", ["launcher", "maker", "init", "command"])
def test_sigkill_of_any_process_leaves_none(victim: str) -> None:
    with chain() as made:
        inside = members(made.namespace)
        # init, the shell and its children: three, one of which has a shell around it.
        assert {made.init, made.command} < set(inside)
        assert len(inside) >= 5
        with watched([made.maker, *inside]) as alive:
            os.kill(getattr(made, victim), signal.SIGKILL)
            wait_for_end(alive)
        assert members(made.namespace) == []


def test_a_launcher_that_ends_by_itself_takes_the_sandbox_with_it() -> None:
    script = f"{LAUNCHER.split('with')[0]}import os\nsandbox = Sandbox(sys.argv[1:])\n" + (
        "sys.stdin.readline()\nos._exit(0)\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", script, "sh", "-c", FAMILY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == b"ready\n"
    (maker,) = children(launcher.pid)
    (init,) = children(maker)
    with watched([maker, *members(pid_namespace(init))]) as alive:
        launcher.communicate(b"\n")
        wait_for_end(alive)
