"""Whether a run showed what its scenario expects.

Rules:

- A figure that was not observed fulfils nothing, not even ``!=``: missing is never a value.
- In a table of counts by name (`failures`, `retried`, `errors`, `calls`, `drop_reasons`, `signals`)
  a name that is not there was counted zero times.
- A figure that does not exist fails, with the names that do.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from testbed.analysis.summary import Expectation
from testbed.events import outcomes
from testbed.scenario.expectation import Relation, parse_expectation
from testbed.scenario.names import did_you_mean

COUNTS: Final = frozenset(
    {"calls", "drop_reasons", "errors", "failures", "retried", "served", "signals"}
)
"""Tables of counts by name."""
_NO_VALUE: Final = "no value: it was not observed, or there was none"
_OUTCOMES: Final = frozenset({"failures", "retried"})
"""Those of them that count outcomes of requests."""
_HOLDS: Final[Mapping[Relation, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def judge_expectations(texts: Sequence[str], summary: Mapping[str, Any]) -> list[Expectation]:
    """Each expectation and whether it holds.

    Args:
        texts: as `parse_expectation` reads them.
        summary: as in summary.json.
    """
    return [_judge(text, summary) for text in texts]


def _judge(text: str, summary: Mapping[str, Any]) -> Expectation:
    rule = parse_expectation(text)
    try:
        value = look_up(rule.figure, summary)
    except LookupError as error:
        return Expectation(expect=text, holds=False, reason=str(error.args[0]))
    if value is None:
        return Expectation(expect=text, holds=False, reason=_NO_VALUE)
    if isinstance(value, Mapping | list):
        return Expectation(expect=text, holds=False, reason=not_single(value))
    numbers = (int, float)
    if rule.relation not in ("==", "!=") and not isinstance(value, numbers):
        return Expectation(expect=text, holds=False, value=value, reason="not a number")
    return Expectation(expect=text, holds=_HOLDS[rule.relation](value, rule.value), value=value)


def not_single(value: Mapping[str, Any] | list[Any]) -> str:
    """What is wrong with an expectation of a whole table, or of a list."""
    inside = f" (it has: {', '.join(map(str, value))})" if isinstance(value, Mapping) else ""
    return f"not a single figure{inside}"


def look_up(figure: str, summary: Mapping[str, Any]) -> Any:
    """The value at a place, None where it, or what it is part of, is null.

    Raises:
        LookupError: there is no such place, and what there is.
    """
    found: Any = summary
    rest, table = figure, ""
    while rest:
        if found is None:
            return None
        inside = found if isinstance(found, Mapping) else {}
        # Names of links may have dots themselves: the longest name that fits.
        names = [name for name in inside if f"{rest}.".startswith(f"{name}.")]
        if not names:
            if inside is not found:
                raise LookupError(f"no such figure: {table} is not divided further")
            if table in _OUTCOMES and not outcomes.is_outcome(rest):
                hint = did_you_mean(rest, outcomes.names()) or f" ({', '.join(outcomes.names())})"
                raise LookupError(f'no request can end as "{rest}"{hint}')
            if table in COUNTS:
                return 0
            part = rest.partition(".")[0]
            known = did_you_mean(part, found) or f" (it has: {', '.join(map(str, found))})"
            raise LookupError(f'no such figure: {table or "a summary"} has no "{part}"{known}')
        table = max(names, key=len)
        found, rest = found[table], rest[len(table) + 1 :]
    return found
