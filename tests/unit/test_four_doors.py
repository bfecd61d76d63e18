"""Rule: the same text gives the same direction through the command line, a file, Python and a
`Topo`, and a wrong text the same message at the place where it was written.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import EXIT_WRONG_REQUEST, ScenarioError
from testbed.network.plan import make_plan
from testbed.network.topology import Topo
from testbed.recording.manifest import Direction, LinkRecord
from testbed.scenario import Link, Load, Scenario
from testbed.scenario.build import build_scenario
from testbed.scenario.file import as_toml, read_scenario
from testbed.scenario.model import TEXT_SETTINGS, Way

TEXTS: dict[str, list[str]] = {
    "capacity": ["10mbit", "1.5gbit", "trace wifi_bursts"],
    "queue": ["50p", "64kB", "codel 100p target 5ms ecn", "red 100kB min 10kB max 30kB"],
    "delay": ["20ms", "0", "1.5us"],
    "delay_variation": ["2ms", "2ms normal", "1ms paretonormal overtaking"],
    "loss": [
        "1%", "0", "every 23", "packets 3, 7-9", "segments 1", "gilbert-elliott p 1% r 25%",
        "markov p13 1% p31 20% p14 0.5%",
    ],
    "duplicate": ["0.5%", "packets 4"],
    "corrupt": ["0.1%", "every 9"],
    "reorder": ["1%", "packets 5+3,9+1 within 5ms", "every 7 extent 2"],
    "outage": ["at 2s for 500ms", "at 2s for 500ms, at 9s for 1s"],
}  # fmt: skip
SCHEDULE = ("at 1s: loss 2%, delay 5ms", "at 3s: capacity 2mbit", "at 4s: outage at 5s for 1s")
CASES = [(name, text) for name, texts in TEXTS.items() for text in texts]


class Router(Topo):  # type: ignore[misc]  # mininet has no types
    """client - r1 = server, as a `Topo` of a user."""

    def build(self, **link: Any) -> None:
        self.addHost("client", role="client")
        self.addNode("r1", role="router")
        self.addHost("server", role="server")
        self.addLink("client", "r1")
        self.addLink("r1", "server", bottleneck=True, **link)


def planned(scenario: Scenario, **link: Any) -> LinkRecord:
    return make_plan(Router(**link), scenario, "relay").links[1]


def by_words(**options: Any) -> LinkRecord:
    return planned(build_scenario("dumbbell", options, spelling="command line"))


def by_fixture(**options: Any) -> LinkRecord:
    return planned(build_scenario("dumbbell", options))


def by_python(link: Link) -> LinkRecord:
    return planned(Scenario(topology="t", link=link))


def by_topo(**link: Any) -> LinkRecord:
    return planned(Scenario(topology="t"), **link)


@pytest.fixture
def by_file(tmp_path: Path) -> Any:
    def plan(text: str) -> LinkRecord:
        path = tmp_path / "scenario.toml"
        path.write_text(f'topology = "dumbbell"\n{text}\n')
        return planned(read_scenario(path))

    return plan


def toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    return f'"{value}"'


@pytest.mark.parametrize(("name", "text"), [*CASES, ("schedule", SCHEDULE)])
def test_both_directions(name: str, text: Any, by_file: Any) -> None:
    base = {"capacity": "10mbit"} if name in ("queue", "schedule") else {}
    options: dict[str, Any] = {**base, name: text}
    lines = "\n".join(f"link.{key} = {toml(value)}" for key, value in options.items())
    found = [
        by_words(**{**options, name: list(text) if name == "schedule" else text}),
        by_fixture(**options),
        by_file(lines),
        by_python(Link(**options)),
        by_topo(**options),
    ]
    assert all(link == found[0] for link in found)
    assert ends_left_out(found[0].forward) == ends_left_out(found[0].reverse)
    assert ends_left_out(found[0].forward) != ends_left_out(by_topo().forward) or text == "0"


def ends_left_out(way: Direction) -> dict[str, Any]:
    ends = ("sender", "sender_interface", "receiver", "receiver_interface")
    return {name: getattr(way, name) for name in way.__struct_fields__ if name not in ends}


@pytest.mark.parametrize("way", ["forward", "reverse"])
@pytest.mark.parametrize(("name", "text"), [case for case in CASES if case[0] != "queue"])
def test_one_direction(way: str, name: str, text: str, by_file: Any) -> None:
    settings = f"{name} {text}"
    of_one: dict[str, Any] = {name: text}
    named: dict[str, Any] = {way: Way(**of_one)}
    found = [
        by_words(**{way: settings}),
        by_words(links=[f"r1-server.{way}: {settings}"]),
        by_fixture(**{way: settings}),
        by_fixture(**{way: of_one}),
        by_fixture(**{way: Way(**of_one)}),
        by_fixture(links={"r1-server": {way: of_one}}),
        by_fixture(links={"r1-server": Link(**named)}),
        by_file(f"link.{way}.{name} = {toml(text)}"),
        by_file(f"link.{way} = {toml(settings)}"),
        by_file(f"[links.r1-server.{way}]\n{name} = {toml(text)}"),
        by_python(Link(**named)),
        by_topo(**{way: of_one}),
        by_topo(**{way: settings}),
    ]
    assert all(link == found[0] for link in found)
    other = found[0].reverse if way == "forward" else found[0].forward
    assert ends_left_out(other) == ends_left_out(by_topo().forward)


@pytest.mark.parametrize(("name", "text"), [case for case in CASES if case[0] != "queue"])
def test_one_link(name: str, text: str, by_file: Any) -> None:
    of_both: dict[str, Any] = {name: text}
    found = [
        by_words(links=[f"r1-server: {name.replace('_', '-')} {text}"]),
        by_fixture(links={"r1-server": f"{name} {text}"}),
        by_fixture(links={"r1-server": of_both}),
        by_file(f'[links."r1-server"]\n{name} = {toml(text)}'),
        by_file(f"links.r1-server = {toml(f'{name} {text}')}"),
        planned(Scenario(topology="t", links={"r1-server": Link(**of_both)})),
    ]
    assert all(link == found[0] for link in found)


WRONG: list[tuple[str, Any]] = [
    ("capacity", "10"), ("capacity", "trace nosuch"), ("queue", "50"), ("delay", "-1ms"),
    ("delay_variation", "2ms gauss"), ("loss", "101%"), ("loss", "packets 3,2"),
    ("loss", "every 0"),
    ("duplicate", "segments 3"), ("corrupt", "nan%"), ("reorder", "1% extent 0"), ("outage", "2s"),
    ("loss", ""), ("schedule", ("at 1s: loss 101%",)), ("schedule", ("loss 1%",)),
    ("schedule", ("at 1s: los 1%",)), ("schedule", ("at 1s: schedule 5",)),
    ("schedule", ("at 2s: loss 1%", "at 1s: loss 2%")), ("schedule", ("",)),
]  # fmt: skip


def refused(call: Any, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
    with pytest.raises(ScenarioError) as caught:
        call(*args, **kwargs)
    assert caught.value.exit_code == EXIT_WRONG_REQUEST
    return [(problem.where, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_wrong_text_has_one_message_and_the_place_where_it_stands(
    name: str, text: Any, by_file: Any
) -> None:
    option = f"--{name.replace('_', '-')}"
    words = list(text) if name == "schedule" else text
    index = f"[{len(text) - 1}]" if name == "schedule" else ""
    options: dict[str, Any] = {name: text}
    found = [
        (refused(by_words, **{name: words}), option),
        (refused(by_fixture, **options), f"{name}="),
        (refused(by_file, f"link.{name} = {toml(text)}"), f"link.{name}{index}"),
        (
            refused(by_file, f"link.forward.{name} = {toml(text)}"),
            f"link.forward.{name}{index}",
        ),
        (
            refused(by_file, f'links."r1-server".reverse.{name} = {toml(text)}'),
            f'links."r1-server".reverse.{name}{index}',
        ),
        (refused(Link, **options), f"{name}{index}"),
        (refused(by_topo, **options), f"link r1-server.{name}{index}"),
        (refused(by_topo, reverse=options), f"link r1-server.reverse.{name}{index}"),
    ]
    if name != "schedule" and text:
        settings = f"{name} {text}"
        found += [
            (refused(by_words, forward=settings), f"--forward {name}"),
            (refused(by_words, links=[f"a-b.forward: {settings}"]), f"--links a-b.forward.{name}"),
            (refused(by_words, links=[f"a-b: {settings}"]), f"--links a-b.{name}"),
        ]
    message = found[0][0][0][1]
    for problems, where in found:
        assert problems == [(where, message)]
    assert "expected" in message or "must" in message
    assert "(got" in message


@pytest.mark.parametrize("value", [5, 0.5, True, ["1%"], {"a": 1}], ids=repr)
@pytest.mark.parametrize("name", [*TEXT_SETTINGS, "schedule", "forward", "reverse"])
def test_a_value_of_the_wrong_kind_is_refused_by_every_door(name: str, value: Any) -> None:
    for where, call in (
        (f"{name}", lambda: Link(**{name: value})),
        (f"{name}=", lambda: by_fixture(**{name: value})),
        (f"link r1-server.{name}", lambda: by_topo(**{name: value})),
    ):
        if where.startswith("link ") and name in ("delay", "loss") and type(value) in (int, float):
            continue  # TCLink's number of microseconds or percent
        if name == "schedule" and value == ["1%"]:
            continue  # of the right kind, and wrong by its text
        for place, message in refused(call):
            base = place.partition("[")[0].rstrip("=")
            assert base.startswith(where.rstrip("=")) or place.startswith("link r1-server: ")
            assert "expected" in message or "unknown key" in message


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Scenario, "topology", 5),
        (Scenario, "topology", None),
        (Scenario, "app", ["x"]),
        (Scenario, "server", 5),
        (Scenario, "seed", "7"),
        (Scenario, "seed", True),
        (Scenario, "seed", 1.5),
        (Scenario, "link_backend", "netem"),
        (Scenario, "probes", None),
        (Scenario, "congestion_control", 5),
        (Scenario, "load", {"users": 1}),
        (Scenario, "load", Link()),
        (Scenario, "link", Way()),
        (Scenario, "link", "loss 1%"),
        (Scenario, "links", [Link()]),
        (Scenario, "topology_options", None),
        (Scenario, "app", "\udcff"),
        (Link, "forward", Link()),
        (Link, "forward", None),
        (Link, "reverse", "loss 1%"),
        (Link, "schedule", "at 5s: loss 1%"),
        (Link, "schedule", 5),
        (Link, "schedule", [5]),
        (Load, "users", "four"),
        (Load, "users", None),
        (Load, "users", 0),
        (Load, "requests", 2**70),
        (Load, "path", 5),
        (Load, "path", "/\udcff"),
        (Load, "method", None),
        (Load, "rate", 5),
        (Load, "duration", 0),
        (Load, "read_rate", 5),
        (Load, "read_rate", "5"),
        (Load, "write_rate", "0kbit"),
        (Load, "new_connections", 1),
        (Load, "new_connections", "yes"),
        (Scenario, "backlog", 0),
        (Scenario, "backlog", 4097),
        (Scenario, "backlog", "8"),
        (Scenario, "backlog", True),
        (Scenario, "http", 2),
        (Scenario, "http", 1.1),
        (Scenario, "http", "h2"),
        (Scenario, "tls", "yes"),
        (Scenario, "tls", 1),
    ],
)
def test_python_is_told_of_a_value_of_the_wrong_kind(kind: Any, field: str, value: Any) -> None:
    given: dict[str, Any] = {"topology": "t"} if kind is Scenario else {}
    ((where, message),) = refused(kind, **{**given, field: value})
    assert where == field
    assert message.startswith(("expected ", "must "))
    assert "(got " in message


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("links", {"a-b": 5}, 'links."a-b"'),
        ("links", {"a-b": Way()}, 'links."a-b"'),
        ("links", {5: Link()}, 'links."5"'),
        ("topology_options", {"n": [1]}, 'topology_options."n"'),
        ("topology_options", {"n": None}, 'topology_options."n"'),
        ("topology_options", {"\udcff": 1}, 'topology_options."\udcff"'),
    ],
)
def test_python_is_told_of_a_wrong_entry_of_a_table(field: str, value: Any, where: str) -> None:
    given: dict[str, Any] = {"topology": "t", field: value}
    ((found, message),) = refused(Scenario, **given)
    assert found == where
    assert message.startswith("expected ")


def test_a_list_in_python_is_a_tuple() -> None:
    schedule: Any = ["at 5s: loss 1%"]
    assert Link(schedule=schedule) == Link(schedule=("at 5s: loss 1%",))


PLACES = st.sampled_from(["link", "link.forward", 'links."r1-server"', 'links."x.y".reverse'])
SETTINGS = st.dictionaries(st.sampled_from(TEXT_SETTINGS), st.nothing()).map(dict) | st.lists(
    st.sampled_from(CASES), max_size=4
).map(dict)
SCHEDULES = st.none() | st.just(SCHEDULE) | st.just(SCHEDULE[:1])
WAYS = st.builds(lambda settings, schedule: Way(**settings, schedule=schedule), SETTINGS, SCHEDULES)
LINKS = st.builds(
    lambda both, forward, reverse: Link(**both.given(), forward=forward, reverse=reverse),
    WAYS, WAYS, WAYS,
)  # fmt: skip


@given(link=LINKS, links=st.dictionaries(st.text(min_size=1, max_size=5), LINKS, max_size=2))
def test_any_link_written_as_toml_is_read_back_the_same(
    link: Link, links: dict[str, Link], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        scenario = Scenario(topology="dumbbell", link=link, links=links)
    except ScenarioError:  # a name that is no Unicode
        return
    path = tmp_path_factory.getbasetemp() / "round.toml"
    path.write_text(as_toml(scenario), encoding="utf-8")
    assert read_scenario(path) == scenario


@given(base=LINKS, over=LINKS)
def test_settings_over_others_win_one_by_one(base: Link, over: Link) -> None:
    merged = over.merged_over(base)
    assert merged.given() == {**base.given(), **over.given()}
    for below, above, found in (
        (base.forward, over.forward, merged.forward),
        (base.reverse, over.reverse, merged.reverse),
    ):
        assert found.given() == {**below.given(), **above.given()}
    assert merged.of("forward").given() == {**merged.given(), **merged.forward.given()}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*TEXT_SETTINGS, "schedule", "forward", "links", "x"]), inner, max_size=3
    ),
    max_leaves=6,
)  # fmt: skip


@given(options=st.dictionaries(
    st.sampled_from([*TEXT_SETTINGS, "schedule", "forward", "reverse", "links", "users", "seed",
                     "topology_options", "nosuch"]),
    ANYTHING, max_size=4,
), words=st.booleans())  # fmt: skip
def test_whatever_is_given_is_read_or_refused(options: dict[str, Any], words: bool) -> None:
    with contextlib.suppress(ScenarioError):
        build_scenario("dumbbell", options, spelling="command line" if words else "python")


@given(data=st.dictionaries(st.sampled_from([*Link.__struct_fields__, "x"]), ANYTHING, max_size=3))
def test_whatever_a_topo_says_is_read_or_refused(data: dict[str, Any]) -> None:
    with contextlib.suppress(ScenarioError):
        by_topo(**data)
