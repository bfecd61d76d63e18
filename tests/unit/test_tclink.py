"""Rule: parameters of Mininet's `TCLink` mean what Mininet's own code asks tc for, or are refused.

What Mininet asks for is taken from its `TCIntf.config`, with the shell replaced by a list.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from mininet.link import TCIntf, TCLink

from testbed.errors import ScenarioError
from testbed.network import tclink
from testbed.network.plan import NetworkPlan, make_plan
from testbed.network.topology import Topo
from testbed.recording.manifest import Direction
from testbed.scenario import Scenario

US, MS = 1_000, 1_000_000


class Listing(TCIntf):  # type: ignore[misc]  # mininet has no types
    """An interface of Mininet that lists the tc commands it would run."""

    def __init__(self, node: str) -> None:
        self.name = f"{node}-eth0"
        self.node = SimpleNamespace(name=node)
        self.commands: list[str] = []

    def cmd(self, *_: object, **__: object) -> str:
        return ""

    def tc(self, cmd: str, tc: str = "tc") -> str:
        if " show " in cmd:
            return "qdisc noqueue"
        self.commands.append(cmd % (tc, self))
        return ""


@dataclass
class Asked:
    """What Mininet asks tc for, in base units."""

    rate_bit_s: int | None = None
    limit_packets: int | None = None
    delay_ns: int | None = None
    jitter_ns: int | None = None
    loss_percent: float | None = None
    red: dict[str, float] = field(default_factory=dict)
    ecn: bool = False


def tc_time_ns(text: str) -> int:
    """As tc/tc_util.c, get_time, does."""
    number, unit = re.fullmatch(r"([\d.e+-]+?)([a-z]*)", text.lower()).groups()  # type: ignore[union-attr]
    factor = {"": US, "us": US, "usec": US, "ms": MS, "msecs": MS, "s": 10**9, "sec": 10**9}[unit]
    return round(Fraction(number) * factor)


def mininet_asks(node: str = "a", **given: Any) -> Asked:
    interface = Listing(node)
    interface.config(**given)
    asked = Asked()
    for command in interface.commands:
        if found := re.search(r"htb rate ([\d.]+)Mbit", command):
            asked.rate_bit_s = round(float(found[1]) * 1e6)
        if found := re.search(r"netem (?:delay (\S+) +)?(?:([\d.]+\w*) +)?(?:loss (\S+) *)?"
                              r"(?:limit (\d+))?$", command):  # fmt: skip
            delay, jitter, loss, limit = found.groups()
            asked.delay_ns = tc_time_ns(delay) if delay else None
            asked.jitter_ns = tc_time_ns(jitter) if jitter else None
            asked.loss_percent = float(loss) if loss else None
            asked.limit_packets = int(limit) if limit else None
        if " red " in command:
            words = command.split()
            names = ("limit", "min", "max", "avpkt", "burst", "probability")
            asked.red = {name: float(words[words.index(name) + 1]) for name in names}
            asked.ecn = words[-1] == "ecn"
    return asked


def plan_of(a: str = "a", b: str = "b", **link: Any) -> NetworkPlan:
    topo = Topo()
    topo.addNode(a, role="client")
    topo.addNode(b, role="server")
    topo.addLink(a, b, cls=TCLink, **link)
    return make_plan(topo, Scenario(topology="t"), "relay")


def forward(**link: Any) -> Direction:
    return plan_of(**link).links[0].forward


def problems(**link: Any) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        plan_of(**link)
    return [str(problem) for problem in caught.value.problems]


def as_asked(way: Direction) -> Asked:
    queue = way.queue
    red = dict(queue.settings) if queue and queue.discipline == "red" else {}
    if red and queue:
        red |= {"limit": float(queue.limit_bytes or 0)}
    variation = way.delay_variation
    return Asked(
        rate_bit_s=way.capacity_bit_s,
        limit_packets=way.queue_packets,
        delay_ns=way.delay_ns,
        jitter_ns=variation.spread_ns if variation else None,
        loss_percent=way.loss_ratio * 100,
        red=red,
        ecn=bool(queue and queue.ecn),
    )


@pytest.mark.parametrize(
    "given",
    [
        {"bw": 10},
        {"bw": 0.5},
        {"bw": 1000},
        {"bw": 1.2345678},
        {"bw": 10, "delay": "5ms", "loss": 2, "max_queue_size": 100, "use_htb": True},
        {"bw": 10, "delay": "5ms", "loss": 10, "use_htb": True},
        {"bw": 10, "delay": "5ms", "loss": 0, "use_htb": True},
        {"bw": 10, "delay": "2ms", "jitter": "500us"},
        {"bw": 10, "max_queue_size": 20},
        {"bw": 10, "max_queue_size": 20.9},
        {"bw": 10, "delay": 5},
        {"bw": 10, "delay": "5"},
        {"bw": 10, "delay": 0},
        {"bw": 10, "delay": 1.5},
        {"bw": 10, "delay": "1.5MSECS"},
        {"bw": 10, "delay": "0.1s", "jitter": 10},
        {"delay": "15ms"},
        {"delay": "15msecs"},
        {"delay": "1e1ms"},
        {"loss": 0.123456789},
        {"loss": 1},
        {"loss": 100},
        {"loss": 0},
        {"bw": None, "delay": None, "loss": None, "max_queue_size": None},
        {"bw": 10, "enable_red": True},
        {"bw": 10, "enable_ecn": True},
        {"bw": 10, "enable_ecn": True, "enable_red": True},
        {"bw": 10, "enable_red": True, "delay": "5ms"},
        {"bw": 10, "use_hfsc": False, "use_tbf": False, "speedup": 0},
        {"bw": 10, "speedup": 50},
        {"bw": 10, "gro": False, "txo": True, "rxo": False},
        {},
    ],
    ids=str,
)
def test_a_link_does_what_mininet_asks_tc_for(given: dict[str, Any]) -> None:
    asked = mininet_asks(**given)
    got = as_asked(forward(**given))
    assert got.rate_bit_s == asked.rate_bit_s
    assert got.delay_ns == (asked.delay_ns or 0)
    assert got.jitter_ns == asked.jitter_ns
    assert got.loss_percent == pytest.approx(asked.loss_percent or 0, abs=1e-9)
    assert got.ecn == asked.ecn
    if asked.red:
        assert got.red == {**asked.red, "probability": 1.0}
        assert got.limit_packets is None
    elif asked.rate_bit_s is not None:
        assert got.limit_packets == (asked.limit_packets or tclink.DEFAULT_QUEUE_PACKETS)
    else:
        assert got.limit_packets is None


@pytest.mark.parametrize("sender", ["s1", "server", "r1", "h1"])
@pytest.mark.parametrize("speedup", [0, 50, 2000, -5])
def test_speedup_goes_by_the_senders_name(sender: str, speedup: int) -> None:
    link = plan_of(a=sender, bw=10, speedup=speedup).links[0]
    assert link.forward.capacity_bit_s == mininet_asks(sender, bw=10, speedup=speedup).rate_bit_s
    assert link.reverse.capacity_bit_s == mininet_asks("b", bw=10, speedup=speedup).rate_bit_s


def test_jitter_lets_packets_overtake_as_netem_does() -> None:
    variation = forward(delay="5ms", jitter="1ms").delay_variation
    assert variation is not None
    assert (variation.distribution, variation.overtaking) == ("uniform", True)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"jitter": "1ms"}, "a:jitter: it needs a delay"),
        ({"bw": 10, "jitter": "1ms"}, "a:jitter: it needs a delay"),
        ({"bw": 1001}, "a:bw: Mininet ignores a bw above 1000"),
        ({"bw": 1001, "speedup": 10}, "a:bw: Mininet ignores a bw above 1000"),
        ({"bw": 0}, "a:bw: expected a number of Mbit/s greater than 0 (got 0)"),
        ({"bw": 1e-9}, "a:bw: expected a number of Mbit/s greater than 0 (got 1e-09)"),
        ({"bw": -1}, "a:bw: expected a number"),
        ({"bw": float("nan")}, "a:bw: expected a number"),
        ({"bw": float("inf")}, "a:bw: expected a number"),
        ({"bw": True}, "a:bw: expected a number of Mbit/s greater than 0 (got True)"),
        ({"bw": "10"}, "a:bw: expected a number of Mbit/s greater than 0 (got '10')"),
        ({"bw": [10]}, "a:bw: expected a number"),
        ({"bw": 10, "speedup": "x"}, "a:speedup: expected a number of Mbit/s (got 'x')"),
        ({"max_queue_size": 100}, "a:max_queue_size: it needs a bw"),
        ({"enable_ecn": True}, "a:enable_ecn: it needs a bw"),
        ({"enable_red": True, "delay": "1ms"}, "a:enable_red: it needs a bw"),
        ({"bw": 1, "max_queue_size": 0}, "a:max_queue_size: expected packets, at least 1 (got 0)"),
        ({"bw": 1, "max_queue_size": "9"}, "a:max_queue_size: expected packets, at least 1"),
        ({"bw": 1, "max_queue_size": True}, "a:max_queue_size: expected packets, at least 1"),
        ({"bw": 1, "use_hfsc": True}, "a:use_hfsc: this TCLink parameter cannot be honoured"),
        ({"bw": 1, "use_tbf": True}, "a:use_tbf: this TCLink parameter cannot be honoured"),
        ({"bw": 1, "latency_ms": 10}, "a:latency_ms: this TCLink parameter cannot be honoured"),
        ({"bw": 1, "delay": "5 parsecs"}, "a:delay: expected a time as tc reads it"),
        ({"bw": 1, "delay": "20ms 5ms"}, "a:delay: expected a time as tc reads it"),
        ({"bw": 1, "delay": "1.2.3ms"}, "a:delay: expected a time as tc reads it"),
        ({"bw": 1, "delay": -5}, "a:delay: expected a time as tc reads it"),
        ({"bw": 1, "delay": "-5ms"}, "a:delay: expected a time as tc reads it"),
        ({"bw": 1, "delay": ""}, "a:delay: expected a time as tc reads it"),
        ({"bw": 1, "delay": True}, "a:delay: expected a time as tc reads it"),
        ({"bw": 1, "delay": float("nan")}, "a:delay: expected a time as tc reads it"),
        ({"bw": 1, "delay": [5]}, "a:delay: expected a time as tc reads it"),
        ({"delay": "1ms", "jitter": "x"}, "a:jitter: expected a time as tc reads it"),
        ({"loss": 101}, "a:loss: expected a number of percent, 0 to 100, or text (got 101)"),
        ({"loss": -1}, "a:loss: expected a number of percent"),
        ({"loss": float("nan")}, "a:loss: expected a number of percent"),
        ({"loss": True}, "a:loss: expected a number of percent"),
        ({"bw": 1, "capacity": "5mbit"}, "a:bw: it stands beside capacity"),
        ({"bw": 1, "max_queue_size": 5, "queue": "9p"}, "a:max_queue_size: it stands beside"),
        (
            {"delay": "5ms", "jitter": "1ms", "delay_variation": "1ms"},
            "a:jitter: it stands beside delay_variation",
        ),
        ({"params1": {"bw": 0}}, "a:bw: expected a number"),
        ({"params1": {"bww": 0}}, 'a:params1.bww: unknown setting; did you mean "bw"?'),
        ({"params2": 5}, "a:params2: expected a table (got 5)"),
    ],
    ids=str,
)
def test_what_cannot_mean_the_same_is_refused_once(given: dict[str, Any], what: str) -> None:
    (problem,) = problems(**given)
    assert problem.startswith(what.replace("a:", "link a-b: ", 1))


def test_queue_beside_bw_stands() -> None:
    way = forward(bw=10, queue="7p")
    assert (way.capacity_bit_s, way.queue_packets) == (10_000_000, 7)


def test_a_size_below_red_is_told_as_bytes() -> None:
    plan = plan_of(bw=10, enable_ecn=True, max_queue_size=200)
    queue = plan.links[0].forward.queue
    assert queue is not None
    assert (queue.discipline, queue.limit_bytes, queue.ecn) == ("red", 302_800, True)
    assert "link a-b: max_queue_size: RED counts bytes" in " ".join(plan.warnings)


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({"delay": 5}, "link a-b: delay: a time without a unit is microseconds, as for tc: 5 is "
                       "5.0us; write '5.0ms' for milliseconds"),
        ({"delay": "5"}, "'5' is 5us; write '5ms' for milliseconds"),
        ({"delay": "5ms", "jitter": 2}, "link a-b: jitter: a time without a unit is microseconds"),
        ({"delay": 0}, None),
        ({"delay": "5ms"}, None),
        ({"loss": 1}, None),
    ],
    ids=str,
)  # fmt: skip
def test_a_time_without_a_unit_is_warned_of(given: dict[str, Any], warned: str | None) -> None:
    found = plan_of(**given).warnings
    assert len(found) == (0 if warned is None else 1)
    assert (warned or "") in " ".join(found)


def test_params_of_one_end_are_of_the_direction_that_it_sends() -> None:
    plan = plan_of(params1={"bw": 5, "delay": "1ms"}, params2={"bw": 6}, loss=1)
    link = plan.links[0]
    assert (link.forward.capacity_bit_s, link.reverse.capacity_bit_s) == (5_000_000, 6_000_000)
    assert (link.forward.delay_ns, link.reverse.delay_ns) == (MS, 0)
    assert link.forward.loss_ratio == link.reverse.loss_ratio == 0.01


def test_what_the_link_says_wins_over_its_ends_as_in_mininet() -> None:
    plan = plan_of(bw=10, params1={"bw": 5})
    assert plan.links[0].forward.capacity_bit_s == 10_000_000
    assert "link a-b: bw: that of the link counts, not that of params1" in plan.warnings[0]


def all_plans(topo: Any) -> NetworkPlan:
    return make_plan(topo, Scenario(topology="t"), "relay")


def example(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in mininet's examples
        return importlib.import_module(f"mininet.examples.{name}")


@pytest.mark.parametrize(
    ("lossy", "ratio"), [(True, 0.1), (False, 0.0)], ids=["lossy", "not lossy"]
)
def test_mininets_example_simpleperf(lossy: bool, ratio: float) -> None:
    plan = all_plans(example("simpleperf").SingleSwitchTopo(n=4, lossy=lossy))
    assert len(plan.links) == 4
    for link in plan.links:
        for way in (link.forward, link.reverse):
            assert (way.capacity_bit_s, way.delay_ns) == (10_000_000, 5 * MS)
            assert (way.loss_ratio, way.queue_packets) == (ratio, 1000)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: example("linearbandwidth").LinearTestTopo(3), id="linearbandwidth"),
        pytest.param(lambda: example("linuxrouter").NetworkTopo(), id="linuxrouter"),
    ],
)
def test_mininets_other_examples(make: Callable[[], Any]) -> None:
    plan = all_plans(make())
    assert all(link.wire == "direct" for link in plan.links)


def test_every_parameter_of_mininets_config_is_known() -> None:
    code = TCIntf.config.__code__
    names = set(code.co_varnames[1 : code.co_argcount])
    assert names - set(tclink.KEYS) == {"delay", "loss"}
    # use_htb is of TCLink's users, disable_gro is the old name of gro (TCIntf.config pops it).
    assert set(tclink.KEYS) - names == {"use_htb", "disable_gro"}
