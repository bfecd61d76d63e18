"""`list` and `doctor` in the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from testbed.doctor import Ability
from testbed.report.tables import print_abilities, print_catalogue
from testbed.scenario.catalogue import Entry, Option


def console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=80, force_terminal=False, color_system=None), out


def test_names_with_what_they_are() -> None:
    to, out = console()
    options = (Option("n", "int", "2"), Option("m", "", None))
    print_catalogue(to, {"topologies": [Entry("ring", "A [b]ring[/b].", options)], "apps": []})
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == [
        "topologies",
        "  ring  A [b]ring[/b].",
        "        options: n=2, m",
        "",
        "apps",
        "  none",
    ]


HAS = Ability(name="ip", ok=True, detail="/usr/sbin/ip")
WISH = Ability(
    name="netem", ok=False, detail="absent", remedy="a kernel", needed_for="X", required=False
)
NEED = Ability(name="tc", ok=False, detail="absent", remedy="apt-get install iproute2")


def test_a_machine_that_can() -> None:
    to, out = console()
    print_abilities(to, [HAS, WISH])
    text = out.getvalue()
    assert "✓ yes  ip" in text
    assert "✗ no   netem" in text
    assert "netem: needed for X\n  a kernel" in text
    assert text.rstrip().endswith("This machine can run experiments.")


def test_a_machine_that_cannot_is_told_how() -> None:
    to, out = console()
    print_abilities(to, [HAS, NEED])
    text = out.getvalue()
    assert "tc: needed for every run\n  apt-get install iproute2" in text
    assert text.rstrip().endswith("This machine cannot run an experiment yet.")
