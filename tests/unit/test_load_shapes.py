"""What a load asks for is exactly what was written: ramps, traces, mixes, sizes, shares."""

from __future__ import annotations

import math
from collections import Counter
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import QuantityError, ScenarioError
from testbed.load.arrivals import ramp, schedule
from testbed.load.draws import Draws, uniform
from testbed.load.identity import identity
from testbed.load.retry import IDEMPOTENT, NEVER_SENT, PERHAPS_SENT, WORTH_ANOTHER, may_retry
from testbed.load.share import Share
from testbed.scenario import Load
from testbed.scenario.build import build_scenario
from testbed.scenario.file import as_toml, read_scenario
from testbed.scenario.load_notation import (
    Rate,
    parse_cancel,
    parse_entry,
    parse_sizes,
    parse_times,
    split_mix,
)
from testbed.scenario.spread import MOST, Spread
from testbed.scenario.tables import describe_send_times, read_send_times

S = 10**9


def due(load: Load, seed: int = 7, **settings: Any) -> list[int]:
    return [due_ns for _, due_ns in schedule(load, seed=seed, process="client", **settings)]


def test_a_periodic_ramp_is_the_inverse_of_its_integral() -> None:
    """From 1/s to 3/s over 4 s, L(t) = t + t^2 / 4: 3 are due after 2 s, 8 after 4 s."""
    found = due(Load(rate="1/s..3/s", arrivals="periodic", duration="4s"))
    assert len(found) == 8
    assert found[0] == 0
    assert found[3] == 2 * S
    for number, due_ns in enumerate(found):
        t_s = due_ns / S
        assert t_s + t_s**2 / 4 == pytest.approx(number, abs=1e-8)


def test_a_falling_ramp_ends_with_its_duration() -> None:
    """From 3/s to 1/s over 4 s, L(t) = 3 t - t^2 / 4: 8 in all, 5 of them in the first 2 s."""
    found = due(Load(rate="3/s..1/s", arrivals="periodic", duration="4s"))
    assert len(found) == 8
    assert found[5] == 2 * S
    assert sum(due_ns < 2 * S for due_ns in found) == 5


def test_a_ramp_that_does_not_change_is_evenly_spaced() -> None:
    flat = ramp(Rate(first_per_s=4, last_per_s=4), 2 * S, map(float, count()))
    assert list(flat) == [number * S // 4 for number in range(8)]


def test_a_poisson_ramp_has_the_gaps_of_a_poisson_process_of_rate_one() -> None:
    asked = Load(rate="50/s..150/s", duration="10s")
    found = due(asked)
    unit = [due_ns / S for due_ns in due(Load(rate="1/s", requests=len(found)))]
    expected = [50 * t + 100 * t * t / 20 for t in (due_ns / S for due_ns in found)]
    assert expected == pytest.approx(unit, abs=1e-4)
    # 1000 are due on average; the seed is fixed, so this cannot flicker. 4 standard deviations.
    assert len(found) == pytest.approx(1000, abs=4 * math.sqrt(1000))
    assert found == sorted(found)
    assert found[-1] < 10 * S


@given(first=st.integers(1, 1000), last=st.integers(1, 1000), duration=st.integers(1, 20))
def test_as_many_are_due_as_the_mean_rate_says(first: int, last: int, duration: int) -> None:
    load = Load(rate=f"{first}/s..{last}/s", arrivals="periodic", duration=f"{duration}s")
    assert abs(len(due(load)) - (first + last) / 2 * duration) <= 1


def test_a_trace_is_followed_to_the_nanosecond(tmp_path: Path) -> None:
    file = tmp_path / "my times.txt"
    file.write_text("# when\n0\n\n10ms\n10ms\n1.5s\n")
    load = Load(arrivals=f'trace "{file}"')
    times = read_send_times(str(file))
    assert times == (0, 10_000_000, 10_000_000, 1_500_000_000)
    assert due(load, times=times) == list(times)
    assert due(Load(arrivals=load.arrivals, requests=2), times=times) == [0, 10_000_000]
    assert due(Load(arrivals=load.arrivals, duration="1s"), times=times) == list(times[:3])
    assert load.is_open
    assert load.request_limit is None
    known = describe_send_times(str(file))
    assert (known.times, known.last_ns, len(known.sha256)) == (4, 1_500_000_000, 64)


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("1s\n2\n", ":2: ", "the unit is missing"),
        ("1s\n\nx\n", ":3: ", 'got "x"'),
        ("2s\n1s\n", ":2: ", "do not go back (got 1s after 2000000000 ns)"),
        ("# none\n", ": ", "at least one time (got none)"),
    ],
)
def test_a_trace_that_is_wrong_says_where(tmp_path: Path, text: str, where: str, why: str) -> None:
    file = tmp_path / "t.txt"
    file.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        Load(arrivals=f"trace {file}")
    (problem,) = caught.value.problems
    assert problem.where == "arrivals"
    assert f"{file}{where}" in problem.message
    assert why in problem.message


def test_a_trace_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("1s\n")
    path = tmp_path / "scenario.toml"
    path.write_text('topology = "dumbbell"\n[load]\narrivals = "trace t.txt"\n')
    load = read_scenario(path).load
    assert load.arrivals_file == str(tmp_path / "t.txt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64kB", Spread(value=64_000)),
        ("uniform 1kB..10kB", Spread(kind="uniform", value=1000, most=10_000)),
        ("exponential mean 10kB", Spread(kind="exponential", value=10_000)),
        ("exponential 10kB", Spread(kind="exponential", value=10_000)),
        (
            "lognormal median 10kB sigma 1.5",
            Spread(kind="lognormal", value=10_000, sigma=1.5),
        ),
    ],
)
def test_sizes(text: str, expected: Spread) -> None:
    assert parse_sizes(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "10", "uniform 1kB", "uniform 10kB..1kB", "exponential mean 0", "lognormal median 1kB",
        "lognormal median 1kB sigma 9", "lognormal median 1kB sigma x", "64kB 3", "normal 1kB",
    ],
)  # fmt: skip
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(QuantityError, match="expected a size with a unit"):
        parse_sizes(text)


def test_quantiles_of_distributions() -> None:
    """By the inverse of the distribution function, to the byte."""
    assert parse_sizes("64kB").at(0.999) == 64_000
    uniformly = parse_sizes("uniform 1B..10B")
    assert [uniformly.at((n + 0.5) / 10) for n in range(10)] == list(range(1, 11))
    assert parse_sizes("exponential mean 1MB").at(0.5) == round(1e6 * math.log(2))
    log = parse_sizes("lognormal median 1MB sigma 2")
    assert log.at(0.5) == 10**6
    assert log.at(0.8413447460685429) == pytest.approx(1e6 * math.exp(2), rel=1e-6)
    assert log.at(1 - 2**-53) == 10**6 * MOST
    assert parse_times("uniform 1ms..2ms").mean == 1_500_000


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_values_rise_with_the_draw_or_fall(draw: float) -> None:
    bounds = parse_sizes("uniform 5B..9B").at(draw)
    assert 5 <= bounds <= 9
    assert parse_sizes("exponential mean 10kB").at(draw) >= 0


def test_a_kind_of_request() -> None:
    entry = parse_entry('3 POST "/a b,c?n={size}" size uniform 1kB..2kB body 2kB')
    assert (entry.weight, entry.method, entry.path) == (3.0, "POST", "/a b,c?n={size}")
    assert entry.body == Spread(value=2000)
    assert entry.size == Spread(kind="uniform", value=1000, most=2000)
    assert entry.text == 'POST "/a b,c?n={size}" size uniform 1kB..2kB body 2kB'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("GET /", "the weight must be a number above 0"),
        ("0 GET /", "the weight must be a number above 0"),
        ("1.2.3 GET /", "the weight must be a number above 0"),
        ("3 GET", "the PATH is missing"),
        ("3 G3T /", "expected an HTTP method"),
        ("3 GET items", 'must begin with "/"'),
        ("3 GET / body", "the value of body is missing"),
        ("3 GET / body 2", "the unit is missing"),
        ("3 GET / body 2kB body 3kB", "body is given twice"),
        ("3 GET / weight 2", '"weight" is not known here'),
        ("3 GET / size 2kB", "size needs {size} in the path"),
        ("3 GET /{size}", "{size} in the path needs a size"),
    ],
)
def test_a_kind_that_is_none(text: str, why: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_entry(text)
    assert why in str(caught.value)
    assert "such as 3 GET / or 1 POST /items body 2kB" in str(caught.value)


def test_a_mix_in_one_text() -> None:
    assert split_mix('3 GET /, 1 GET "/a,b",2 PUT /x body 1kB') == [
        "3 GET /", '1 GET "/a,b"', "2 PUT /x body 1kB",
    ]  # fmt: skip


def test_the_same_mix_by_words_by_python_and_by_file(tmp_path: Path) -> None:
    kinds = ("3 GET /", "1 POST /items body 2kB", "2 GET /x")
    by_words = build_scenario(
        "dumbbell", {"mix": ["3 GET /, 1 POST /items body 2kB", "2 GET /x"]},
        spelling="command line",
    )  # fmt: skip
    by_python = build_scenario("dumbbell", {"mix": list(kinds)})
    path = tmp_path / "s.toml"
    path.write_text(as_toml(by_python))
    assert by_words.load.mix == by_python.load.mix == read_scenario(path).load.mix == kinds


def test_kinds_come_by_their_weights_and_the_same_again() -> None:
    load = Load(mix=("3 GET /", "1 POST /items body uniform 1kB..2kB"))
    draws = Draws(load, seed=7, host="client")
    first = [draws.wanted(number) for number in range(4000)]
    assert first == [Draws(load, seed=7, host="client").wanted(n) for n in range(4000)]
    assert first != [Draws(load, seed=8, host="client").wanted(n) for n in range(4000)]
    assert first != [Draws(load, seed=7, host="c2").wanted(n) for n in range(4000)]
    counts = Counter(one.entry for one in first)
    # The seed is fixed, so this cannot flicker: 4 standard deviations of a share.
    assert counts[0] == pytest.approx(3000, abs=4 * math.sqrt(4000 * 3 / 16))
    bodies = {one.body_bytes for one in first if one.entry == 1}
    assert len(bodies) > 500
    assert min(bodies) >= 1000
    assert max(bodies) <= 2000
    assert {one.body_bytes for one in first if one.entry == 0} == {0}


def test_a_size_is_put_into_the_path() -> None:
    draws = Draws(Load(path="/?size={size}", size="exponential mean 3B"), seed=1, host="client")
    found = [draws.wanted(number) for number in range(200)]
    assert all(one.path == f"/?size={one.size_bytes}" for one in found)
    assert min(one.size_bytes or 0 for one in found) == 1


def test_draws_for_one_purpose_do_not_depend_on_another() -> None:
    plain = Draws(Load(body="uniform 1kB..2kB"), seed=7, host="client")
    other = Draws(Load(body="uniform 1kB..2kB", cancel="50% after 1s"), seed=7, host="client")
    assert [plain.wanted(n) for n in range(50)] == [other.wanted(n) for n in range(50)]
    assert len({uniform(7, "client", "body", n) for n in range(1000)}) == 1000


def test_as_many_are_given_up_as_was_asked_for() -> None:
    draws = Draws(Load(cancel="10% after uniform 1ms..2ms"), seed=7, host="client")
    found = [draws.cancel_ns(number) for number in range(4000)]
    given_up = [at_ns for at_ns in found if at_ns is not None]
    assert len(given_up) == pytest.approx(400, abs=4 * math.sqrt(4000 * 0.09))
    assert 1_000_000 <= min(given_up) < max(given_up) <= 2_000_000
    assert {Draws(Load(), seed=7, host="c").cancel_ns(n) for n in range(50)} == {None}


@pytest.mark.parametrize("text", ["1%", "1% after", "after 50ms", "1% in 50ms", "2 after 50ms"])
def test_what_says_not_when_to_give_up(text: str) -> None:
    with pytest.raises(QuantityError):
        parse_cancel(text)


def test_a_back_off_is_doubled_and_jittered() -> None:
    draws = Draws(Load(retries=4, backoff="10ms"), seed=7, host="client")
    for attempt in range(1, 5):
        waits = [draws.backoff_ns(number, attempt) for number in range(400)]
        most = 10_000_000 << (attempt - 1)
        assert most * 0.9 < max(waits) < most
        assert 0 <= min(waits) < most * 0.1


def test_what_may_be_tried_again() -> None:
    for failure in NEVER_SENT:
        assert may_retry("POST", failure)
    for failure in PERHAPS_SENT | WORTH_ANOTHER:
        assert not may_retry("POST", failure)
        assert not may_retry("PATCH", failure)
        assert all(may_retry(method, failure) for method in IDEMPOTENT)
    for failure in ("HTTP 500", "HTTP 404", "LocalProtocolError", "Cancelled", "TotalTimeout"):
        assert not may_retry("GET", failure)


@given(processes=st.integers(1, 64), total=st.integers(0, 1000))
def test_shares_add_up_to_the_whole(processes: int, total: int) -> None:
    shares = [Share(index=index, processes=processes) for index in range(processes)]
    assert sum(share.of(total) for share in shares) == total
    numbers = [number for share in shares for number in share.numbers(total)]
    assert sorted(numbers) == list(range(total))
    assert all(sum(share.has(number) for share in shares) == 1 for number in range(total))
    sizes = [share.of(total) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_ids_of_attempts_differ() -> None:
    ids = {
        identity(seed=7, process="client", number=number, attempt=attempt).trace_id
        for number in range(20)
        for attempt in range(3)
    }
    assert len(ids) == 60


@pytest.mark.parametrize(
    ("settings", "where", "why"),
    [
        ({"rate": "1/s..5/s"}, "rate", "a ramp needs a duration"),
        ({"rate": "1/s..x", "duration": "1s"}, "rate", "or a ramp such as 10/s..200/s"),
        ({"max_in_flight": 3}, "max_in_flight", "needs an open loop"),
        ({"arrivals": "periodic"}, "arrivals", "needs an open loop"),
        ({"rate": "5/s", "think": "1s"}, "think", "is for a closed loop"),
        ({"mix": ()}, "mix", "expected at least one kind"),
        ({"mix": ("1 GET /", "x")}, "mix[1]", "the weight must be"),
        ({"mix": ("1 GET /",), "path": "/x"}, "path", "not beside mix"),
        ({"mix": ("1 GET /",), "body": "2kB"}, "body", "not beside mix"),
        ({"size": "2kB"}, "size", "size needs {size} in the path"),
        ({"path": "/{size}"}, "path", "needs a size"),
        ({"backoff": "1s"}, "backoff", "needs retries"),
        ({"retries": 11}, "retries", "must be less than 11"),
        ({"retries": -1}, "retries", "must be at least 0"),
        ({"processes": 65}, "processes", "must be less than 65"),
        ({"processes": 3, "users": 2}, "users", "must be at least processes, 3"),
        ({"processes": 3, "users": 3, "connections": 2}, "connections", "at least processes"),
        (
            {"processes": 3, "rate": "1/s", "max_in_flight": 2},
            "max_in_flight",
            "must be at least processes, 3",
        ),
        ({"total_timeout": "0"}, "total_timeout", "must be greater than 0"),
        ({"timeout": "0s"}, "timeout", 'must be greater than 0 (got "0s")'),
        ({"connect_timeout": "0s"}, "connect_timeout", 'must be greater than 0 (got "0s")'),
        ({"read_timeout": "0"}, "read_timeout", "must be greater than 0"),
        ({"write_timeout": "0ms"}, "write_timeout", "must be greater than 0"),
        ({"pool_timeout": "0"}, "pool_timeout", "must be greater than 0"),
        ({"cancel": "1%"}, "cancel", "after TIME is missing"),
    ],
)
def test_what_makes_no_load(settings: dict[str, Any], where: str, why: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        Load(**settings)
    (problem,) = caught.value.problems
    assert problem.where == where
    assert why in problem.message


def test_a_long_schedule_is_shared_out_without_a_gap() -> None:
    asked = Load(rate="1000/s", requests=100)
    whole = list(schedule(asked, seed=7, process="client"))
    shares = [Share(index=index, processes=3) for index in range(3)]
    parts = [[one for one in whole if share.has(one[0])] for share in shares]
    assert sorted(one for part in parts for one in part) == whole
    assert [len(part) for part in parts] == [34, 33, 33]
    assert list(islice(schedule(Load(rate="1000/s"), seed=7, process="client"), 5)) == whole[:5]
