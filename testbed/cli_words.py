"""What the command line makes of the words that were typed, and of places in them.

Rules:

- An option with one value that is given twice is an error: else the last would count.
- A problem that is found later, in the network, is said at the option that was typed.
- A name that does not exist is answered with near ones, and where there are few with all.
"""

from __future__ import annotations

import difflib
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from testbed.errors import ScenarioError
from testbed.scenario.names import did_you_mean

_SIMILAR: Final = 0.6
_AS_GOOD: Final = 0.1
"""What is less similar than the best by so much is not suggested beside it."""


class OnceCommand(TyperCommand):
    """A command whose options with one value may be given once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the words; one that comes twice ends the command with exit code 2."""
        try:
            _, _, order = self.make_parser(ctx).parse_args(list(args))
        except Exception as error:
            # By its attributes: typer has its own copy of click's class, under a private name.
            if getattr(error, "possibilities", None):
                vars(error)["possibilities"] = near(vars(error)["option_name"], self._names(ctx))
            raise
        given = Counter(one.name for one in order if not one.multiple and one.nargs == 1)
        twice = [one for one in self.get_params(ctx) if given[one.name] > 1]
        for one in twice:
            if one.param_type_name == "option" and not getattr(one, "is_flag", False):
                ctx.fail(f"{one.opts[-1]} is given {_times(given[one.name])}; it has one value")
        return super().parse_args(ctx, args)

    def _names(self, ctx: Any) -> list[str]:
        return [name for one in self.get_params(ctx) for name in one.opts if name.startswith("--")]


class ListingGroup(TyperGroup):
    """Commands, of which one that does not exist is answered with those that do."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that was typed; none of that name ends with exit code 2."""
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            hint = did_you_mean(args[0], known) or f"; there are {', '.join(known)}"
            ctx.fail(f'No such command "{args[0]}"{hint}')
        return super().resolve_command(ctx, args)


def near(option: str, known: Iterable[str]) -> list[str]:
    """Of the known options those that `option` begins, else the most similar ones."""
    # Without the dashes, which would make all of them similar.
    typed = option.lstrip("-")
    names = [name.lstrip("-") for name in known]
    begun = [name for name in names if typed and name.startswith(typed)]
    similar = {
        name: difflib.SequenceMatcher(None, typed, name).ratio()
        for name in difflib.get_close_matches(typed, names, cutoff=_SIMILAR)
    }
    best = max(similar.values(), default=0.0)
    close = [name for name, ratio in similar.items() if ratio > best - _AS_GOOD]
    return [f"--{name}" for name in begun or close]


def wrapped(message: str, width: int) -> str:
    """A message in lines of `width` that break between words and go on as far indented."""
    lines = []
    for line in message.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
        ) or [""]
    return "\n".join(lines)


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


@contextmanager
def places_as_typed(context: typer.Context) -> Iterator[None]:
    """Within it an error at an option that is found late names what was typed.

    What a scenario file gave keeps its place in the file.
    """
    named = {
        f"topology_options.{name}": f"--topology-option {name}"
        for name in (text.partition("=")[0] for text in _given(context, "topology_options"))
    }
    if context.params.get("app_environment") is not None:
        named["app_environment"] = "--app-environment"
    named |= {f"expect[{number}]": "--expect" for number in range(len(_given(context, "expect")))}
    try:
        yield
    except ScenarioError as error:
        problems = [replace(one, where=named.get(one.where, one.where)) for one in error.problems]
        raise ScenarioError(problems, source=error.source) from error


def _given(context: typer.Context, name: str) -> list[str]:
    return list(context.params.get(name) or ())
