"""What the command line makes of the words that were typed, and of places in them.

Rules:

- An option with one value that is given twice is an error: else the last would count.
- A problem that is found later, in the network, is said at the option that was typed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import typer
from typer.core import TyperCommand

from testbed.errors import ScenarioError


class OnceCommand(TyperCommand):
    """A command whose options with one value may be given once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the words; one that comes twice ends the command with exit code 2."""
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        given = Counter(one.name for one in order if not one.multiple and one.nargs == 1)
        twice = [one for one in self.get_params(ctx) if given[one.name] > 1]
        for one in twice:
            if one.param_type_name == "option" and not getattr(one, "is_flag", False):
                ctx.fail(f"{one.opts[-1]} is given {_times(given[one.name])}; it has one value")
        return super().parse_args(ctx, args)


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


@contextmanager
def places_as_typed(context: typer.Context) -> Iterator[None]:
    """Within it an error at an option of the topology, or at an expectation, names what was typed.

    What a scenario file gave keeps its place in the file.
    """
    named = {
        f"topology_options.{name}": f"--topology-option {name}"
        for name in (text.partition("=")[0] for text in _given(context, "topology_options"))
    }
    named |= {f"expect[{number}]": "--expect" for number in range(len(_given(context, "expect")))}
    try:
        yield
    except ScenarioError as error:
        problems = [replace(one, where=named.get(one.where, one.where)) for one in error.problems]
        raise ScenarioError(problems, source=error.source) from error


def _given(context: typer.Context, name: str) -> list[str]:
    return list(context.params.get(name) or ())
