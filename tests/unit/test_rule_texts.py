"""Rules in words can be read back, as far as they are not shortened."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.scenario import notation, tables, texts
from testbed.scenario.impairments import Variation


@pytest.mark.parametrize(
    "text",
    [
        *("1%", "0.25%", "every 50", "packets 3,7,9-12", "segments 1,3"),
        *("gilbert-elliott p 1% r 25%", "gilbert-elliott p 1% r 25% 1-h 50% 1-k 0.1%"),
        *("markov p13 1% p31 30%", "markov p13 1% p31 30% p32 5% p23 80% p14 0.5%"),
    ],
)
def test_losses(text: str) -> None:
    assert texts.loss_text(notation.parse_loss(text)) == text


@pytest.mark.parametrize(
    "text",
    ["1% extent 3", "every 20 extent 5 within 20ms", "packets 5+3,9+1", "packets 4 extent 2"],
)
def test_reordering(text: str) -> None:
    assert texts.reorder_text(notation.parse_reorder(text)) == text


@pytest.mark.parametrize("text", ["2ms uniform", "1.5ms normal overtaking", "250us pareto"])
def test_variations(text: str) -> None:
    assert texts.variation_text(notation.parse_variation(text)) == text


@pytest.mark.parametrize("name", ["plain", "with blanks", "with,comma", "a, b"])
def test_names_of_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("1\n2\n")
    variation = Variation(spread_ns=2_000_000, distribution="table", file=name)
    assert notation.parse_variation(texts.variation_text(variation)) == variation
    trace = tables.describe_trace(name)
    assert notation.parse_capacity(texts.trace_text(trace)) == trace
    settings = f"capacity {texts.trace_text(trace)}, delay 5ms"
    assert notation.split_settings(settings, ("capacity", "delay"))["delay"] == "5ms"


@pytest.mark.parametrize("text", ["at 2s for 500ms", "at 0 for 1s, at 2.5s for 10ms"])
def test_outages(text: str) -> None:
    assert texts.outages_text(notation.parse_outages(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("50p", "64kB", "codel 100p target 5ms interval 100ms ecn", "fq_codel flows 64"),
        *("red 100kB min 30kB max 90kB probability 2%", "cake", "fq flow_limit 20p"),
    ],
)
def test_queues(text: str) -> None:
    assert texts.queue_text(notation.parse_queue(text)) == text


def test_long_lists_are_shortened() -> None:
    numbers = ",".join(str(2 * n) for n in range(50))
    found = texts.loss_text(notation.parse_loss(f"packets {numbers}"))
    assert found == "packets 0,2,4,6,8,10,..."
