"""Rule: what a run needs and this machine lacks is named together with what brings it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from testbed import doctor
from testbed.doctor import Ability, examine, install_line, missing_tools

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def abilities() -> list[Ability]:
    return examine()


def test_the_install_line_names_each_package_once_in_order() -> None:
    assert install_line({"iproute2", "ethtool"}) == (
        "sudo DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "
        "ethtool iproute2"
    )


def test_a_missing_program_is_reported_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = {"sh": "dash", "no-such-tool": "tool-package"}
    monkeypatch.setattr(doctor, "TOOLS", tools)
    assert missing_tools() == {"no-such-tool": "tool-package"}


def test_programs_in_sbin_are_found_by_ordinary_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TOOLS", {"sysctl": "procps"})
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert missing_tools() == {}


def test_the_packages_are_those_that_tb_installs() -> None:
    lines = (REPOSITORY / "debian-packages.txt").read_text(encoding="utf-8").splitlines()
    installed = {line.split()[0] for line in lines if line and not line.startswith("#")}
    needed = {
        *doctor.TOOLS.values(),
        *doctor.SHELL_TOOLS.values(),
        *doctor.SPREAD_TOOLS.values(),
    }
    assert needed <= installed


def test_each_ability_has_a_name_of_its_own(abilities: list[Ability]) -> None:
    names = [ability.name for ability in abilities]
    assert len(set(names)) == len(names)
    assert {"python", "private namespaces", "/dev/net/tun", "netem", "htb"} < set(names)


def test_what_is_missing_comes_with_a_remedy(abilities: list[Ability]) -> None:
    lacking = [a for a in abilities if a.required and not a.ok]
    assert [a.name for a in lacking if not a.remedy] == []


def test_what_is_there_needs_no_remedy(abilities: list[Ability]) -> None:
    assert [a.name for a in abilities if a.ok and a.remedy] == []


def test_everything_says_what_it_found(abilities: list[Ability]) -> None:
    assert [a.name for a in abilities if not a.detail] == []


def test_a_machine_that_runs_these_tests_can_do_what_a_run_requires(
    abilities: list[Ability],
) -> None:
    # tests/netns runs here: were an ability reported missing, either of the two would be wrong.
    assert [a.name for a in abilities if a.required and not a.ok] == []


def test_a_sandbox_that_fails_says_so_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # An interpreter that fails at once stands for a kernel that refuses.
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = {a.name: a for a in examine()}
    assert not found["private namespaces"].ok
    assert not found["htb"].ok
    assert found["htb"].detail == "failed"
    assert found["htb"].remedy == "kernel module sch_htb"
