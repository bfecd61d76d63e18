"""./tb: what it installs, when it does so again, and what it says when it cannot.

Each test has a checkout and a PATH of its own (`tests.support.tb_machine`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.tb_machine import Machine

NOBODY = 65534


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def kinds(calls: list[str]) -> list[str]:
    """The calls without their arguments, each once when repeated in a row."""
    words = [call.split()[0] for call in calls]
    return [word for word, before in zip(words, [None, *words], strict=False) if word != before]


# ---- .venv ---------------------------------------------------------------------------------------


def test_first_call_makes_venv_and_runs_testbed_where_the_caller_is(machine: Machine) -> None:
    done = machine.tb("run", "a topology", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{machine.elsewhere}: run a topology --json\n"
    calls = machine.calls()
    assert kinds(calls) == ["venv", "pip"]
    assert calls[-1].endswith("--constraint constraints.txt --no-build-isolation --editable .")


def test_second_call_does_nothing_but_run_testbed(machine: Machine) -> None:
    machine.set_up()
    done = machine.tb("list")
    assert (done.stdout, done.stderr) == (f"{machine.elsewhere}: list\n", "")
    assert machine.calls() == []


def test_second_call_costs_less_than_half_a_second(machine: Machine) -> None:
    machine.set_up()
    took_ns = []
    for _ in range(5):
        began_ns = time.monotonic_ns()
        machine.tb()
        took_ns.append(time.monotonic_ns() - began_ns)
    assert min(took_ns) < 500_000_000, "the bound of the issue; some 10 ms where nothing else runs"


def test_exit_code_is_testbeds(machine: Machine) -> None:
    machine.set_up()
    (machine.checkout / ".venv/bin/testbed").write_text("#!/bin/sh\nexit 5\n")
    assert machine.tb().returncode == 5


def test_works_through_a_symbolic_link(machine: Machine) -> None:
    machine.set_up()
    link = machine.elsewhere / "testbed"
    link.symlink_to(machine.checkout / "tb")
    assert machine.tb("list", program=link).stdout == f"{machine.elsewhere}: list\n"
    assert machine.calls() == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "debian-packages.txt"])
def test_changed_dependencies_are_installed_into_the_same_venv(machine: Machine, name: str) -> None:
    machine.set_up()
    with (machine.checkout / name).open("a") as file:
        file.write("# pulled\n")
    assert machine.tb().returncode == 0
    assert kinds(machine.calls()) == ["pip"]
    assert machine.tb().returncode == 0
    assert machine.calls() == []


def test_failed_update_keeps_the_venv_and_is_tried_again(machine: Machine) -> None:
    machine.set_up()
    (machine.checkout / "constraints.txt").write_text("rich==99\n")
    machine.switch_on("pip_fails")
    for _ in range(2):
        done = machine.tb()
        assert done.returncode == 3
        assert "no such version" in done.stderr
        assert f"{machine.checkout}/.venv.log" in done.stderr
        assert done.stdout == ""
    machine.switch_off("pip_fails")
    assert machine.tb().returncode == 0
    assert kinds(machine.calls()) == ["pip"]


@pytest.mark.parametrize("when", ["first call", "update"])
def test_killed_set_up_is_begun_anew(machine: Machine, when: str) -> None:
    if when == "update":
        machine.set_up()
        (machine.checkout / "constraints.txt").write_text("rich==99\n")
    machine.switch_on("pip_is_killed")
    assert machine.tb().returncode != 0
    machine.calls()
    machine.switch_off("pip_is_killed")
    assert machine.tb().returncode == 0
    assert kinds(machine.calls()) == ["venv", "pip"]
    assert not (machine.checkout / ".venv/half-made").exists()


def move_checkout(machine: Machine) -> None:
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("moved"))


def change_interpreter(machine: Machine) -> None:
    link = machine.checkout / ".venv/bin/python"
    other = machine.fakes / "python_other"
    (machine.fakes / "python").rename(other)
    link.unlink()
    link.symlink_to(other)
    shutil.copy(other, machine.fakes / "python")


def lose_interpreter(machine: Machine) -> None:
    link = machine.checkout / ".venv/bin/python"
    link.unlink()
    link.symlink_to(machine.fakes / "gone")


def lose_command(machine: Machine) -> None:
    (machine.checkout / ".venv/bin/testbed").unlink()


def lose_stamp(machine: Machine) -> None:
    (machine.checkout / ".venv/tb-run.stamp").unlink()


@pytest.mark.parametrize(
    "harm", [move_checkout, change_interpreter, lose_interpreter, lose_command, lose_stamp]
)
def test_broken_or_foreign_venv_is_made_anew(
    machine: Machine, harm: Callable[[Machine], None]
) -> None:
    machine.set_up()
    harm(machine)
    assert machine.tb().returncode == 0
    assert kinds(machine.calls()) == ["venv", "pip"]
    assert machine.tb().returncode == 0
    assert machine.calls() == []


def test_two_first_calls_at_once_set_up_once(machine: Machine) -> None:
    with machine.start("one") as one, machine.start("two") as two:
        outputs = [process.communicate(timeout=60)[0] for process in (one, two)]
    assert outputs == [f"{machine.elsewhere}: one\n", f"{machine.elsewhere}: two\n"]
    assert machine.calls().count("venv") == 1


def test_too_old_interpreter_ends_with_3(machine: Machine) -> None:
    machine.switch_on("python_is_old")
    done = machine.tb()
    assert done.returncode == 3
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (machine.checkout / ".venv").exists()


# ---- Debian packages -----------------------------------------------------------------------------


def test_ordinary_user_is_told_the_one_line_to_run(machine: Machine) -> None:
    machine.switch_on("lacks_mininet", "lacks_ethtool")
    done = machine.tb("run", "single_bottleneck")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == (
        "    sudo DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"
        " ethtool mininet"
    )
    assert machine.calls() == []


def test_root_installs_missing_packages_without_questions_or_update(machine: Machine) -> None:
    machine.switch_on("is_root", "lacks_mininet")
    done = machine.tb("list")
    assert done.stdout == f"{machine.elsewhere}: list\n"
    assert "chatter" not in done.stderr
    apt, *rest = machine.calls()
    assert apt.startswith("noninteractive apt-get install --yes --no-install-recommends ")
    assert apt.endswith(" mininet")
    assert kinds(rest) == ["venv", "pip"]


def test_package_lists_are_updated_only_when_the_first_attempt_fails(machine: Machine) -> None:
    machine.switch_on("is_root", "lacks_mininet", "lists_are_old")
    assert machine.tb().returncode == 0
    apt = [call.partition("apt-get ")[2] for call in machine.calls() if "apt-get " in call]
    assert [arguments.split()[0] for arguments in apt] == ["install", "update", "install"]


def test_failure_of_apt_shows_what_it_said(machine: Machine) -> None:
    machine.switch_on("is_root", "lacks_mininet", "apt_fails")
    done = machine.tb()
    assert done.returncode == 3
    assert "no space left" in done.stderr


def test_without_dpkg_the_missing_commands_are_named(machine: Machine) -> None:
    machine.switch_off("dpkg-query")
    for command in ("curl", "iperf3", "nsenter", "ping", "prlimit", "setpriv", "unshare"):
        (machine.fakes / command).symlink_to("/bin/true")
    done = machine.tb()
    assert done.returncode == 3
    first = done.stderr.splitlines()[0]
    lacking = first.removeprefix("tb: this machine lacks the commands: ").split()
    # The others may be found in /usr/sbin, where tb always looks.
    assert set(lacking) - {"ip", "tc", "ethtool", "ifconfig", "sysctl"} == {"mnexec", "dumpcap"}


# ---- tb test, tb setup ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "suffix"),
    [
        pytest.param((), " CHECKOUT/tests", id="whole suite"),
        pytest.param(("-x", "-k", "mine.py"), " -x -k mine.py CHECKOUT/tests", id="no path"),
        pytest.param(("mine.py", "-x"), " mine.py -x", id="file"),
        pytest.param(("mine.py::test_it",), " mine.py::test_it", id="one test"),
    ],
)
def test_paths_of_tests_are_the_callers(
    machine: Machine, arguments: tuple[str, ...], suffix: str
) -> None:
    (machine.elsewhere / "mine.py").touch()
    done = machine.tb("test", *arguments)
    head, tail = done.stdout.split(" --rootdir CHECKOUT".replace("CHECKOUT", str(machine.checkout)))
    assert head == f"{machine.elsewhere}: -m pytest -c {machine.checkout}/pyproject.toml"
    assert tail == suffix.replace("CHECKOUT", str(machine.checkout)) + "\n"


def test_test_adds_its_extra_once(machine: Machine) -> None:
    machine.set_up()
    machine.tb("test")
    assert machine.calls()[-1].endswith("--editable .[test]")
    machine.tb("test")
    machine.tb("list")
    assert machine.calls() == []


def test_ordinary_user_is_told_which_tests_lack_something(machine: Machine) -> None:
    machine.switch_on("lacks_chromium")
    done = machine.tb("test")
    assert done.returncode == 0
    assert "not installed: chromium" in done.stderr


def test_root_gets_the_packages_of_the_tests(machine: Machine) -> None:
    machine.switch_on("is_root", "lacks_chromium")
    machine.tb("test")
    assert any(call.endswith(" chromium") for call in machine.calls())


def test_packages_that_boot_a_kernel_are_only_needed_for_that(machine: Machine) -> None:
    machine.switch_on("is_root", "lacks_kmod")
    machine.tb("setup", "test")
    assert [call for call in machine.calls() if "kmod" in call] == []
    machine.tb("setup", "kernel")
    assert any(call.endswith(" kmod") for call in machine.calls())


@pytest.mark.parametrize(
    ("arguments", "extra"), [((), "."), (("test",), ".[test]"), (("kernel",), ".[test]")]
)
def test_setup_sets_up_and_stops(machine: Machine, arguments: tuple[str, ...], extra: str) -> None:
    done = machine.tb("setup", *arguments)
    assert (done.returncode, done.stdout) == (0, "")
    assert machine.calls()[-1].endswith(f"--editable {extra}")


def test_setup_of_something_else_is_refused(machine: Machine) -> None:
    done = machine.tb("setup", "everything")
    assert done.returncode == 2
    assert 'setup takes nothing, "test" or "kernel" (got "everything")' in done.stderr


# ---- a checkout of somebody else -----------------------------------------------------------------


@pytest.fixture
def closed() -> Iterator[Machine]:
    """A machine that is set up, and whose caller may read the checkout but not write to it."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        folder.chmod(0o755)
        machine = Machine(folder)
        machine.set_up()
        machine.user = NOBODY if os.geteuid() == 0 else None
        (machine.checkout / ".venv").chmod(0o555)
        machine.checkout.chmod(0o555)
        yield machine
        (machine.checkout / ".venv").chmod(0o755)
        machine.checkout.chmod(0o755)


def test_ready_checkout_of_somebody_else_works(closed: Machine) -> None:
    done = closed.tb("list")
    assert (done.stdout, done.stderr) == (f"{closed.elsewhere}: list\n", "")


def test_outdated_checkout_of_somebody_else_is_left_to_its_owner(closed: Machine) -> None:
    (closed.checkout / "constraints.txt").write_text("rich==99\n")
    done = closed.tb("list")
    assert done.returncode == 3
    assert f"Let the owner of {closed.checkout} run: {closed.checkout}/tb setup" in done.stderr
    assert closed.calls() == []
