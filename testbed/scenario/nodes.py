"""Settings of nodes: sysctls of a network namespace, and the limit on descriptors.

    descriptors 64, net.ipv4.tcp_rmem 4096 16384 65536

Rules:

- Only sysctls below ``net.`` can be set: those that a network namespace has of its own. Whether the
  kernel has one, and takes its value, is tried before anything is built
  (`testbed.network.sysctls`).
- What the testbed sets by itself is refused, there too.
"""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

import msgspec

from testbed.errors import Problem, QuantityError, shown
from testbed.scenario.checked import Checked

LEAST_DESCRIPTORS: Final = 32
"""Below it Python and its event loop hardly start: about twenty are open before the first
connection.
"""
MOST_DESCRIPTORS: Final = 2**20
"""fs.nr_open of a Linux machine where nobody has changed it."""
_FORM: Final = "SETTING VALUE, SETTING VALUE, such as descriptors 64, net.ipv4.tcp_sack 0"
_NAME: Final = re.compile(r"net(\.[A-Za-z0-9_-]+)+")
_NEXT: Final = re.compile(r",\s*(?=descriptors\b|net\.)")


class NodeSettings(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is set in a node. What is not set stays as the kernel has it."""

    descriptors: int | None = None
    """RLIMIT_NOFILE, soft, of every process of the run in it: servers or load processes."""
    sysctls: dict[str, str | int] = msgspec.field(default_factory=dict)
    """By name: ``"net.ipv4.tcp_rmem" = "4096 16384 65536"``."""

    def _problems(self, wrong: Set[str]) -> list[Problem]:
        problems = []
        least, most = LEAST_DESCRIPTORS, MOST_DESCRIPTORS
        limit = None if "descriptors" in wrong else self.descriptors
        if limit is not None and not least <= limit <= most:
            message = f"must lie in {least}..{most} (got {shown(limit)})"
            problems.append(Problem("descriptors", message))
        for name, value in () if "sysctls" in wrong else self.sysctls.items():
            if _NAME.fullmatch(name) is None:
                message = "expected a sysctl of a network namespace, such as net.ipv4.tcp_sack"
                problems.append(Problem(f'sysctls."{name}"', f"{message} (got {shown(name)})"))
            elif not (plain := " ".join(str(value).split())) or not plain.isprintable():
                message = f"expected a value on one line (got {shown(value)})"
                problems.append(Problem(f'sysctls."{name}"', message))
        return problems

    @property
    def sysctl_texts(self) -> dict[str, str]:
        """The sysctls as the kernel shows them: one blank between words."""
        return {name: " ".join(str(value).split()) for name, value in self.sysctls.items()}

    @property
    def accept_queue(self) -> int | None:
        """The longest backlog that listen(2) gives here (net.core.somaxconn); None: not set."""
        text = self.sysctl_texts.get("net.core.somaxconn", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @classmethod
    def table_of(cls, text: str) -> dict[str, object]:
        """The settings of a text, as the keys of a table.

        Raises:
            QuantityError: not in that form.
        """
        table: dict[str, object] = {}
        sysctls: dict[str, object] = {}
        for part in _NEXT.split(text.strip()):
            name, _, value = part.strip().replace("=", " ", 1).partition(" ")
            value = value.strip()
            known = name == "descriptors" or name.startswith("net.")
            if not known or not value or name in table or name in sysctls:
                raise QuantityError(f"expected {_FORM} (got {shown(text)})", wanted=_FORM, got=text)
            if name == "descriptors":
                table[name] = int(value) if value.isascii() and value.isdigit() else value
            else:
                sysctls[name] = value
        return {**table, "sysctls": sysctls} if sysctls else table

    def over(self, base: NodeSettings) -> NodeSettings:
        """These settings where they are set, those of `base` elsewhere."""
        return NodeSettings(
            descriptors=base.descriptors if self.descriptors is None else self.descriptors,
            sysctls={**base.sysctls, **self.sysctls},
        )

    def __str__(self) -> str:
        limit = [] if self.descriptors is None else [f"descriptors {self.descriptors}"]
        return ", ".join([*limit, *(f"{n} {v}" for n, v in self.sysctl_texts.items())])
