"""Rule: settings become one direction in base units, and every contradiction is told by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.network.directions import (
    DEFAULT_QUEUE_PACKETS,
    changed,
    clamped_ratio,
    kernel_refusals,
    needs_wire,
    settle,
    wire_config,
)
from testbed.network.relay.config import TraceConfig, VariationConfig
from testbed.recording.manifest import Direction
from testbed.scenario.impairments import (
    Bernoulli,
    Every,
    GilbertElliott,
    Listed,
    Outage,
    Reorder,
    Variation,
)
from testbed.scenario.model import TEXT_SETTINGS, Way

MS, S = 10**6, 10**9
BARE = Direction(sender="a", sender_interface="a-0", receiver="b", receiver_interface="b-0")
EVERYTHING: dict[str, Any] = {
    "capacity": "10mbit",
    "queue": "50p",
    "delay": "20ms",
    "delay_variation": "2ms normal",
    "loss": "gilbert-elliott p 1% r 25%",
    "duplicate": "every 9",
    "corrupt": "0.1%",
    "reorder": "packets 3",
    "outage": "at 2s for 1s",
}


def told(way: Way, start: Direction | None = None) -> list[tuple[str, str]]:
    """What is wrong with settings, or with a change of `start`."""
    found: list[tuple[str, str]] = []

    def tell(setting: str, message: str) -> None:
        found.append((setting, message))

    settle(BARE, way, tell) if start is None else changed(start, way, tell)
    return found


def never(setting: str, message: str) -> None:
    pytest.fail(f"{setting}: {message}")


def settled(**settings: Any) -> Direction:
    return settle(BARE, Way(**settings), never)


def test_nothing_set_is_a_bare_direction() -> None:
    assert settled() == BARE


def test_everything_in_base_units() -> None:
    assert set(EVERYTHING) == set(TEXT_SETTINGS)
    way = settled(**EVERYTHING)
    assert way.queue == way.queue_in_full
    assert msgspec.structs.replace(way, queue=None, queue_in_full=None) == msgspec.structs.replace(
        BARE,
        capacity_bit_s=10_000_000,
        queue_packets=50,
        delay_ns=20 * MS,
        delay_variation=Variation(spread_ns=2 * MS, distribution="normal"),
        loss=GilbertElliott(p=0.01, r=0.25),
        loss_ratio=GilbertElliott(p=0.01, r=0.25).mean_ratio,
        duplicate=Every(n=9),
        corrupt=Bernoulli(ratio=0.001),
        reorder=Reorder(pick=Listed(numbers=(3,))),
        outages=(Outage(start_ns=2 * S, duration_ns=S),),
    )


@pytest.mark.parametrize(
    ("queue", "discipline", "packets", "size"),
    [
        (None, "pfifo", DEFAULT_QUEUE_PACKETS, None),
        ("20p", "pfifo", 20, None),
        ("64kB", "bfifo", None, 64_000),
        ("codel 100p", "codel", None, None),
        ("cake 1MB", "cake", None, None),
    ],
)
def test_a_capacity_has_a_queue(
    queue: str | None, discipline: str, packets: int | None, size: int | None
) -> None:
    way = settled(capacity="1mbit", queue=queue)
    assert way.queue is not None
    assert way.queue.discipline == discipline
    assert (way.queue_packets, way.queue_bytes) == (packets, size)


def test_a_trace_is_a_capacity_and_its_mean() -> None:
    way = settled(capacity="trace steady_12mbit")
    assert way.trace is not None
    assert (way.trace.period_ms, way.capacity_bit_s) == (1, 12_000_000)
    assert way.queue_packets == DEFAULT_QUEUE_PACKETS


@pytest.mark.parametrize(
    ("settings", "setting", "why"),
    [
        ({"queue": "50p"}, "queue", "a queue needs a capacity"),
        (
            {"capacity": "trace steady_12mbit", "queue": "codel"},
            "queue",
            "a capacity by a trace has a drop-tail queue, such as 50p (got codel)",
        ),
    ],
)
def test_contradictions(settings: dict[str, Any], setting: str, why: str) -> None:
    ((found, message),) = told(Way(**settings))
    assert found == setting
    assert why in message


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),
        ({"capacity": "10mbit", "queue": "50p"}, False),
        ({"capacity": "10mbit", "schedule": ("at 1s: capacity 2mbit, queue 9p",)}, False),
        ({"schedule": ("at 1s: capacity 2mbit", "at 2s: loss 1%")}, True),
        ({"capacity": " trace  steady_12mbit"}, True),
        *(({name: text}, True) for name, text in EVERYTHING.items() if name not in
          ("capacity", "queue")),
        ({"delay": "0"}, True),
        ({"loss": "0"}, True),
    ],
    ids=str,
)  # fmt: skip
def test_what_needs_a_wire(settings: dict[str, Any], needed: bool) -> None:
    assert needs_wire(Way(**settings)) == needed


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "capacity": ("2mbit", {"capacity_bit_s": 2_000_000}),
    "queue": ("9p", {"queue_packets": 9}),
    "delay": ("5ms", {"delay_ns": 5 * MS}),
    "delay_variation": ("1ms", {"delay_variation": Variation(spread_ns=MS)}),
    "loss": ("2%", {"loss": Bernoulli(ratio=0.02), "loss_ratio": 0.02}),
    "duplicate": ("0", {"duplicate": Bernoulli(ratio=0.0)}),
    "corrupt": ("every 2", {"corrupt": Every(n=2)}),
    "reorder": ("1%", {"reorder": Reorder(pick=Bernoulli(ratio=0.01))}),
    "outage": ("at 9s for 1s", {"outages": (Outage(start_ns=9 * S, duration_ns=S),)}),
}


@pytest.mark.parametrize("setting", TEXT_SETTINGS)
def test_a_change_changes_what_it_names_and_nothing_else(setting: str) -> None:
    start = settled(**EVERYTHING)
    text, fields = CHANGES[setting]
    after = changed(start, Way.from_text(f"{setting} {text}"), never)
    if setting == "queue":
        assert after.queue is not None
        assert after.queue.limit_packets == 9
        assert after.queue_in_full == after.queue
        after = msgspec.structs.replace(after, queue=start.queue, queue_in_full=start.queue_in_full)
    assert after == msgspec.structs.replace(start, **fields)


def test_a_change_of_several_at_once() -> None:
    after = changed(settled(**EVERYTHING), Way(loss="0", delay="1ms"), never)
    assert (after.loss_ratio, after.delay_ns, after.capacity_bit_s) == (0.0, MS, 10_000_000)


def test_a_limit_in_bytes_changes_in_bytes() -> None:
    after = changed(settled(capacity="1mbit", queue="64kB"), Way(queue="32kB"), never)
    assert (after.queue_packets, after.queue_bytes) == (None, 32_000)


@pytest.mark.parametrize(
    ("start", "change", "setting", "why"),
    [
        ({}, {"capacity": "1mbit"}, "capacity", "has none to change"),
        ({}, {"queue": "5p"}, "queue", "(it is none, got pfifo)"),
        ({"capacity": "1mbit"}, {"queue": "codel"}, "queue", "(it is pfifo, got codel)"),
        ({"capacity": "1mbit"}, {"queue": "5kB"}, "queue", "(it is pfifo, got bfifo)"),
        (
            {"capacity": "1mbit"},
            {"capacity": "trace steady_12mbit"},
            "capacity",
            "neither begun nor left",
        ),
        (
            {"capacity": "trace steady_12mbit"},
            {"capacity": "1mbit"},
            "capacity",
            "neither begun nor left",
        ),
        ({"capacity": "trace steady_12mbit"}, {"queue": "5p"}, "queue", "before a trace cannot"),
        ({}, {"schedule": ("at 1s: loss 1%",)}, "schedule", "cannot bring a schedule"),
    ],
    ids=str,
)
def test_what_cannot_change_while_the_load_runs(
    start: dict[str, Any], change: dict[str, Any], setting: str, why: str
) -> None:
    ((found, message),) = told(Way(**change), settled(**start))
    assert found == setting
    assert why in message


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, []),
        ({"loss": "1%", "duplicate": "1%", "corrupt": "1%", "delay_variation": "1ms"}, []),
        ({"loss": "gilbert-elliott p 1% r 25%"}, []),
        ({"loss": "markov p13 1% p31 25%"}, []),
        ({"capacity": "1mbit", "queue": "cake"}, []),
        ({"capacity": "trace steady_12mbit"}, ["capacity"]),
        ({"loss": "every 3"}, ["loss"]),
        ({"loss": "packets 3"}, ["loss"]),
        ({"loss": "segments 3"}, ["loss"]),
        (
            {"loss": "every 3", "duplicate": "every 3", "corrupt": "packets 3"},
            ["loss", "duplicate", "corrupt"],
        ),
        ({"reorder": "1%", "outage": "at 1s for 1s"}, ["reorder", "outage"]),
    ],
    ids=str,
)
def test_what_netem_cannot_do(settings: dict[str, Any], refused: list[str]) -> None:
    assert [setting for setting, _ in kernel_refusals(settled(**settings))] == refused


def test_the_share_that_is_not_delayed() -> None:
    assert clamped_ratio(settled(delay="1ms")) == 0.0
    assert clamped_ratio(settled(delay="5ms", delay_variation="5ms")) == 0.0
    assert clamped_ratio(settled(delay_variation="5ms")) == 0.5


def test_what_the_relay_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.dist"
    file.write_text("-1 0 1\n")
    config = wire_config(
        settled(
            **{**EVERYTHING, "delay_variation": f"2ms table {file} overtaking", "loss": "every 3"}
        )
    )
    assert config.variation == VariationConfig(spread_ns=2 * MS, table=(-1, 0, 1), overtaking=True)
    assert (config.delay_ns, config.loss, config.duplicate) == (20 * MS, Every(n=3), Every(n=9))
    assert config.outages == (Outage(start_ns=2 * S, duration_ns=S),)
    assert config.trace is None
    assert msgspec.json.decode(msgspec.json.encode(config), type=type(config)) == config


def test_the_relay_is_told_a_trace_with_its_queue() -> None:
    config = wire_config(settled(capacity="trace steady_12mbit", queue="9p"))
    assert config.trace == TraceConfig(opportunities_ms=(1,), queue_packets=9, queue_bytes=None)
    assert config.variation is None


def test_the_queue_is_kept_as_it_was_written_and_in_full() -> None:
    written = {"target": 10 * MS}
    full = {"target": 10 * MS, "interval": 100 * MS}
    found = settle(BARE, Way(capacity="10mbit", queue="codel target 10ms"), never)
    assert found.queue is not None
    assert found.queue_in_full is not None
    assert (found.queue.limit_packets, found.queue.settings) == (None, written)
    assert (found.queue_in_full.limit_packets, found.queue_in_full.settings) == (1000, full)
    assert settle(BARE, Way(delay="1ms"), never).queue_in_full is None


def test_the_queue_in_full_follows_a_change_of_the_capacity() -> None:
    before = settle(BARE, Way(capacity="10mbit", queue="cake"), never)
    after = changed(before, Way(capacity="1gbit"), never)
    assert before.queue_in_full is not None
    assert after.queue_in_full is not None
    assert (before.queue_in_full.limit_bytes, after.queue_in_full.limit_bytes) == (
        4 * 2**20,
        50_000_000,
    )
    assert changed(before, Way(delay="5ms"), never).queue_in_full == before.queue_in_full


def test_a_red_without_a_weight_is_told() -> None:
    ((setting, message),) = told(Way(capacity="10mbit", queue="red 8kB"))
    assert setting == "queue"
    assert message.startswith("red has no averaging weight for min 666 B")


@pytest.mark.parametrize(
    ("queue", "change", "message"),
    [
        ("red 60kB", "red 70kB", "red empties its queue"),
        ("fq_codel", "fq_codel flows 64", "fq_codel cannot change its number of flows"),
    ],
)
def test_a_change_that_a_discipline_cannot_make_is_told(
    queue: str, change: str, message: str
) -> None:
    before = settle(BARE, Way(capacity="10mbit", queue=queue), never)
    ((setting, why),) = told(Way(queue=change), before)
    assert setting == "queue"
    assert why.startswith(message)


def test_the_kernels_times_have_bounds() -> None:
    long = settle(BARE, Way(delay="275s", delay_variation="3s"), never)
    assert [setting for setting, _ in kernel_refusals(long)] == ["delay", "delay_variation"]
    short = settle(BARE, Way(delay="274s", delay_variation="2s"), never)
    assert kernel_refusals(short) == []


def test_a_table_must_fit_into_tcs_message(tmp_path: Path) -> None:
    file = tmp_path / "x.dist"
    file.write_text("0 " * 16_001)
    long = settle(BARE, Way(delay="5ms", delay_variation=f"1ms table {file}"), never)
    ((setting, why),) = kernel_refusals(long)
    assert setting == "delay_variation"
    assert why == "tc takes tables of at most 16000 entries (this has 16001)"
    file.write_text("0 " * 16_000)
    assert kernel_refusals(long) == []
