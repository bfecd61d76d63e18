"""Rule: packets of a route with several gateways are marked in turn, each mark but the first has a
table with its way, and what reads back otherwise is an error that names it.
"""

from __future__ import annotations

from typing import Any

import pytest

from testbed.errors import ReadBackError
from testbed.network import commands, read_back, spreading, sysctls
from testbed.network.plan import NetworkPlan
from testbed.scenario.model import IpVersion
from tests.unit.plans import plan_of
from tests.unit.test_routing import balanced

ROUTES = [("10.100.0.1/32", ["10.1.1.1", "10.1.2.1", "10.1.3.1"])]


def plan(ip: IpVersion = 4, spread: str = "packets") -> NetworkPlan:
    return plan_of(balanced(3, routes=ROUTES, spread=spread), ip=ip)


def test_each_way_but_the_first_has_a_table_and_a_rule() -> None:
    found = plan()
    macs = {i.name: i.mac for node in found.nodes for i in node.interfaces}
    lines = commands.node_lines(found, found.node("lb"), macs, "reno")
    assert [line for line in lines if "10.100.0.1/32" in line] == [
        "route add 10.100.0.1/32 via 10.1.1.1 dev lb-eth1 congctl reno",
        "route add 10.100.0.1/32 via 10.1.2.1 dev lb-eth2 table 101 congctl reno",
        "route add 10.100.0.1/32 via 10.1.3.1 dev lb-eth3 table 102 congctl reno",
    ]
    assert spreading.rule_lines(found.node("lb")) == [
        "rule add fwmark 1 lookup 101",
        "rule add fwmark 2 lookup 102",
    ]


@pytest.mark.parametrize(
    ("ip", "match"), [(4, "ip daddr 10.100.0.1"), (6, "ip6 daddr fd00:0:a64:1::/64")]
)
def test_nft_counts_over_all_packets_to_the_prefix(ip: IpVersion, match: str) -> None:
    assert spreading.ruleset(plan(ip).node("lb"), ip) == (
        "table inet spread {\n"
        "  chain marks {\n"
        "    type filter hook prerouting priority mangle; policy accept;\n"
        f"    {match} meta mark set numgen inc mod 3\n"
        "  }\n"
        "}\n"
    )


def test_flows_need_none_of_it() -> None:
    found = plan(spread="flows")
    assert not found.spreads_packets
    assert spreading.spread_routes(found.node("lb")) == []
    assert plan().spreads_packets
    policy = "net.ipv4.fib_multipath_hash_policy"
    assert policy in sysctls.sysctls_of(found, found.node("lb"))
    assert policy not in sysctls.sysctls_of(plan(), plan().node("lb"))


RULES = [{"fwmark": "0x1", "table": "101"}, {"fwmark": "0x2", "table": "102"}, {"table": "main"}]
TABLES = [[{"dst": "10.100.0.1", "gateway": f"10.1.{n}.1", "dev": f"lb-eth{n}"}] for n in (2, 3)]
MARKS = spreading.ruleset(plan().node("lb"), 4).replace("  ", "\t")


def test_what_reads_back_as_it_was_set_is_accepted() -> None:
    spreading.check(plan().node("lb"), 4, RULES, TABLES, MARKS)


@pytest.mark.parametrize(
    ("rules", "tables", "marks", "message"),
    [
        (RULES[1:], TABLES, MARKS, "lb: no rule for mark 0x1 to table 101 after it was set"),
        (
            RULES,
            [TABLES[0], TABLES[0]],
            MARKS,
            "lb: no route to 10.100.0.1/32 by 10.1.3.1 in table 102 after it was set",
        ),
        (
            RULES,
            TABLES,
            MARKS.replace("mod 3", "mod 2"),
            'lb: nft has no "ip daddr 10.100.0.1 meta mark set numgen inc mod 3" after it was set',
        ),
    ],
    ids=["a rule", "a table", "a mark"],
)
def test_what_reads_back_otherwise_is_an_error(
    rules: list[dict[str, Any]], tables: list[list[dict[str, Any]]], marks: str, message: str
) -> None:
    with pytest.raises(ReadBackError) as caught:
        spreading.check(plan().node("lb"), 4, rules, tables, marks)
    assert str(caught.value) == message


def test_the_main_table_must_have_the_first_way_only() -> None:
    lb = plan().node("lb")
    metrics = [{"congestion": "reno"}]
    found = [
        {"dst": r.prefix, "dev": r.interface, "metrics": metrics}
        for r in lb.addressing.routes
        if r.via is None
    ]
    first = {"dst": "10.100.0.1", "gateway": "10.1.1.1", "dev": "lb-eth1", "metrics": metrics}
    read_back.check_routes(lb, [*found, first], "reno")
    second = {**first, "gateway": "10.1.2.1", "dev": "lb-eth2"}
    with pytest.raises(ReadBackError, match=r"no route to 10\.100\.0\.1 by 10\.1\.1\.1"):
        read_back.check_routes(lb, [*found, second], "reno")
