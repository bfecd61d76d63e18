"""The words of a setting, one after the other.

Words stand between blanks; blanks beside a comma do not count; what stands in double quotes is one
word as it is, so that a file's name may hold blanks and commas.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from testbed.errors import QuantityError, bare, shortened, shown
from testbed.scenario.names import did_you_mean

QUOTED: Final = r'"[^"]*"'
_WORD: Final = re.compile(rf"(?:{QUOTED}|[^\s\"])+|\"")


class Words:
    """The words of a text, taken one after the other; `form` says what was expected."""

    def __init__(self, text: object, form: str) -> None:
        if not isinstance(text, str):
            raise QuantityError(f"expected {form} (got {bare(text)})", wanted=form, got=text)
        self.text = text
        self.form = form
        self._words = list(_split(text))
        self._place = 0
        if not self._words:
            raise self.error("nothing")

    def error(self, why: str) -> QuantityError:
        """What to raise: what was expected, what was got, and why that is none."""
        got = f"{shown(self.text)}: {shortened(why)}" if self.text.strip() else "nothing"
        return QuantityError(f"expected {self.form} (got {got})", wanted=self.form, got=self.text)

    @property
    def next(self) -> str:
        """The next word, or nothing at the end."""
        return self._words[self._place] if self._place < len(self._words) else ""

    def take(self, what: str) -> str:
        """The next word, which must be there: `what` names it in the error."""
        word = self.next
        if not word:
            raise self.error(f"{what} is missing")
        self._place += 1
        return word

    def take_if(self, *known: str) -> str:
        """The next word if it is one of `known`, else nothing."""
        return self.take("") if self.next and self.next in known else ""

    def take_name(self, what: str) -> str:
        """The next word without its quotes, which must not be empty."""
        name = unquoted(self.take(what))
        if not name:
            raise self.error(f"{what} is empty")
        return name

    def end(self, *known: str) -> None:
        """Nothing may be left; `known` is what could have been meant."""
        if self.next:
            hint = did_you_mean(self.next, known)
            raise self.error(f'"{shortened(self.next)}" is not known here{hint}')

    def settings(
        self, known: Mapping[str, Callable[[str], Any]], flags: Sequence[str] = ()
    ) -> Iterator[tuple[str, Any]]:
        """The rest as pairs of a word of `known` and its value, each at most once.

        A word of `flags` stands for itself and is True.
        """
        seen: set[str] = set()
        while self.next:
            name = self.next
            if name not in known and name not in flags:
                self.end(*known, *flags)
            if name in seen:
                raise self.error(f"{name} is given twice")
            seen.add(name)
            self.take(name)
            if name in flags:
                yield name, True
                continue
            value = self.take(f"the value of {name}")
            try:
                found = known[name](value)
            except QuantityError as error:
                raise self.error(f"{name}: {error}") from error
            yield name, found


def _split(text: str) -> Iterator[str]:
    """The words of a text; blanks beside a comma part none."""
    parts: list[str] = []
    for found in _WORD.finditer(text):
        if parts and not (parts[-1].endswith(",") or found[0].startswith(",")):
            yield "".join(parts)
            parts = []
        parts.append(found[0])
    if parts:
        yield "".join(parts)


def unquoted(word: str) -> str:
    """A word without the quotes around it."""
    return word[1:-1] if len(word) >= 2 and word[0] == word[-1] == '"' else word


def quoted(name: str) -> str:
    """A file's name as one word: in quotes where it needs them."""
    return f'"{name}"' if re.search(r"[\s,]", name) else name


def count(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        QuantityError: it is none.
    """
    if re.fullmatch(r"[0-9]{1,9}", text) is None or int(text) < 1:
        raise QuantityError(f"expected a whole number of at least 1 (got {shown(text)})", got=text)
    return int(text)
