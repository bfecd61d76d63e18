"""Packets of one route spread over several ways, one after the other.

Linux has equal-cost multipath for flows only. For packets netfilter counts them as they come in and
marks each with the number of its way (``numgen inc``, nft(8)), and policy routing has a table for
each mark but the first, 0, whose way is in the main table:

    10.2.0.0/24 via 10.0.1.2                     main
    10.2.0.0/24 via 10.0.3.2                     table 101
    fwmark 1 lookup 101                          rule
    ip daddr 10.2.0.0/24 meta mark set numgen inc mod 2

So of n ways each has exactly every n-th packet to that prefix, by their order in all, whatever
their connections. Chosen are packets that pass through, not those of the router itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, Final

from testbed.errors import ReadBackError
from testbed.network.plan import NodePlan
from testbed.network.routing import Hop, Route
from testbed.network.tools import Toolbox
from testbed.scenario.model import IpVersion

_FIRST_TABLE: Final = 100
"""Of mark 0, if it had one; free of the names in /etc/iproute2/rt_tables."""
_CHAIN: Final = "type filter hook prerouting priority mangle; policy accept;"


def spread_routes(node: NodePlan) -> list[Route]:
    """The routes of a node whose packets are spread."""
    if node.spread != "packets":
        return []
    return [route for route in node.addressing.routes if route.others]


def further_ways(node: NodePlan) -> Iterator[tuple[int, Route, Hop]]:
    """Table, route and way of all but the first ways of its spread routes."""
    for route in spread_routes(node):
        for mark, hop in enumerate(route.others, 1):
            yield _FIRST_TABLE + mark, route, hop


def rule_lines(node: NodePlan) -> list[str]:
    """Lines for `ip -batch` that have each mark looked up in its table."""
    return [f"rule add fwmark {table - _FIRST_TABLE} lookup {table}" for table in _tables(node)]


def ruleset(node: NodePlan, version: IpVersion) -> str:
    """What nft is told."""
    rules = "".join(f"    {rule}\n" for rule in _rules(node, version))
    return f"table inet spread {{\n  chain marks {{\n    {_CHAIN}\n{rules}  }}\n}}\n"


def _rules(node: NodePlan, version: IpVersion) -> list[str]:
    family = "ip" if version == 4 else "ip6"
    found = []
    for route in spread_routes(node):
        ways = 1 + len(route.others)
        found.append(f"{family} daddr {_prefix(route)} meta mark set numgen inc mod {ways}")
    return found


def _prefix(route: Route) -> str:
    network = ipaddress.ip_network(route.prefix)
    is_host = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if is_host else str(network)


def set_up(tools: Toolbox, node: NodePlan, version: IpVersion) -> None:
    """Makes the rules and marks of a node that has its routes already, and reads them back.

    Raises:
        ToolError: ip or nft failed.
        ReadBackError: they read back otherwise.
    """
    if not spread_routes(node):
        return
    (rules,) = tools.settle(["ip", "-n", node.name, f"-{version}"], rule_lines(node), ["rule show"])
    shows = [f"route show table {table}" for table in _tables(node)]
    tables = tools.settle(["ip", "-n", node.name, f"-{version}"], [], shows)
    inside = ["ip", "netns", "exec", node.name, "nft"]
    tools.run([*inside, "-f", "-"], stdin=ruleset(node, version))
    marks = tools.run([*inside, "list", "table", "inet", "spread"], remember=False)
    check(node, version, rules, tables, marks)


def _tables(node: NodePlan) -> list[int]:
    return sorted({table for table, _, _ in further_ways(node)})


def check(
    node: NodePlan,
    version: IpVersion,
    rules: list[dict[str, Any]],
    tables: list[list[dict[str, Any]]],
    marks: str,
) -> None:
    """Compares what reads back with what was set.

    Args:
        node: of the plan.
        version: of IP.
        rules: ``ip -j rule show``.
        tables: ``ip -j route show table N`` of each further way.
        marks: ``nft list table inet spread``.

    Raises:
        ReadBackError: with what is missing.
    """
    looked_up = {(rule.get("fwmark"), rule.get("table")) for rule in rules}
    for table in _tables(node):
        rule = (hex(table - _FIRST_TABLE), str(table))
        if rule not in looked_up:
            _fail(node, f"no rule for mark {rule[0]} to table {rule[1]}", rule)
    found = {
        (table, route["dst"], route["gateway"], route["dev"])
        for table, routes in zip(_tables(node), tables, strict=True)
        for route in routes
    }
    for table, route, hop in further_ways(node):
        if (table, _prefix(route), hop.via, hop.interface) not in found:
            _fail(node, f"no route to {route.prefix} by {hop.via} in table {table}", hop.via)
    lines = [line.strip() for line in marks.splitlines()]
    for line in (_CHAIN, *_rules(node, version)):
        if line not in lines:
            _fail(node, f'nft has no "{line}"', line)


def _fail(node: NodePlan, what: str, wanted: object) -> None:
    raise ReadBackError(
        f"{node.name}: {what} after it was set", where=node.name, wanted=str(wanted), got=None
    )
