"""What this installation has and what this machine can do, in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from testbed.report.text import WIDEST
from testbed.scenario.catalogue import Entry


class Ability(Protocol):
    """One thing that a machine can or cannot do (testbed.doctor.Ability)."""

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def ok(self) -> bool:
        """Whether it is there."""

    @property
    def detail(self) -> str:
        """What was found."""

    @property
    def remedy(self) -> str:
        """How to get it."""

    @property
    def needed_for(self) -> str:
        """What does not work without it."""

    @property
    def required(self) -> bool:
        """Whether a run fails without it."""


def print_catalogue(console: Console, kinds: Mapping[str, Sequence[Entry]]) -> None:
    """Prints names with what they are, kind by kind."""
    width = min(console.width, WIDEST)
    for number, (kind, entries) in enumerate(kinds.items()):
        if number:
            console.print()
        console.print(Text(kind, style="bold"))
        table = _grid()
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for entry in entries:
            about = Text(entry.summary)
            if entry.options:
                options = ", ".join(str(option) for option in entry.options)
                about.append(f"\noptions: {options}", style="dim")
            table.add_row(Text(entry.name), about)
        if not entries:
            table.add_row(Text("none", style="dim"))
        console.print(Padding(table, (0, 0, 0, 2), expand=False), width=width)


def print_abilities(console: Console, abilities: Iterable[Ability]) -> None:
    """Prints what a machine can do, then what it lacks and how to get it."""
    width = min(console.width, WIDEST)
    table = _grid()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    lacking = []
    for ability in abilities:
        if ability.ok:
            state = Text("✓ yes", style="green")
        else:
            lacking.append(ability)
            state = Text("✗ no", style="bold red" if ability.required else "yellow")
        table.add_row(state, Text(ability.name), Text(ability.detail, style="dim"))
    console.print(table, width=width)
    for ability in lacking:
        need = "needed for every run" if ability.required else f"needed for {ability.needed_for}"
        console.print()
        console.print(Text(f"{ability.name}: {need}", style="bold"), width=width)
        remedy = ability.remedy or "cannot be had on this machine"
        console.print(Padding(Text(remedy), (0, 0, 0, 2)), width=width)
    console.print()
    if any(ability.required for ability in lacking):
        console.print(Text("This machine cannot run an experiment yet.", style="bold red"))
    else:
        console.print(Text("This machine can run experiments.", style="bold green"))


def _grid() -> Table:
    return Table.grid(padding=(0, 2, 0, 0))
