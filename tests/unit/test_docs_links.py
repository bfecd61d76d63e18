"""What docs/ says of links is what the code does: examples are read, tables are complete."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.network import tclink
from testbed.network.directions import kernel_refusals, settle
from testbed.recording.manifest import Direction
from testbed.scenario import notation, queues
from testbed.scenario.build import build_scenario
from testbed.scenario.file import read_scenario
from testbed.scenario.impairments import DEFAULT_EXTENT, DISTRIBUTIONS
from testbed.scenario.model import TEXT_SETTINGS, Way
from testbed.scenario.tables import (
    MAX_DISTRIBUTION_ENTRIES,
    MAX_OPPORTUNITIES,
    describe_trace,
    trace_names,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCENARIO_FILE = DOCS / "reference" / "scenario_file.md"
COMMAND_LINE = DOCS / "reference" / "command_line.md"
OWN_TOPOLOGY = DOCS / "how_to" / "run_your_own_topology.md"
EXAMPLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Capacity": ("capacity", notation.parse_capacity),
    "Queue": ("queue", notation.parse_queue),
    "Delay variation": ("delay_variation", notation.parse_variation),
    "Loss": ("loss", notation.parse_loss),
    "Duplicate and corrupt": ("duplicate", notation.parse_pick),
    "Reorder": ("reorder", notation.parse_reorder),
    "Outage": ("outage", notation.parse_outages),
}


def section(page: Path, heading: str) -> str:
    """The text under a heading, down to the next one."""
    text = page.read_text(encoding="utf-8")
    start = re.search(rf"^#+ {re.escape(heading)}$", text, re.MULTILINE)
    assert start is not None, heading
    return re.split(r"^#+ ", text[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def tables(page: Path, heading: str) -> dict[str, list[list[str]]]:
    """The tables under a heading by the name of their first column."""
    found: dict[str, list[list[str]]] = {}
    name = ""
    for line in section(page, heading).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            name = ""
        elif not name:
            name = cells[0]
            found[name] = []
        elif not line.startswith("|---"):
            found[name].append(cells)
    return found


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the FILE of the examples."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("1\n")
    return tmp_path


@pytest.mark.parametrize("heading", EXAMPLES)
@pytest.mark.usefixtures("files")
def test_every_example_is_read(heading: str) -> None:
    rows = tables(SCENARIO_FILE, heading)["example"]
    assert len(rows) >= 2
    for row in rows:
        EXAMPLES[heading][1](row[0].strip("`"))


def test_every_example_of_a_schedule_is_read() -> None:
    rows = tables(SCENARIO_FILE, "Schedule")["example"]
    assert Way(schedule=tuple(row[0].strip("`") for row in rows)).schedule is not None


def test_every_setting_of_a_text_has_examples() -> None:
    named = {setting for setting, _ in EXAMPLES.values()} | {"corrupt", "delay"}
    assert named == set(TEXT_SETTINGS)


def test_every_scenario_of_the_page_is_read(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", SCENARIO_FILE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.toml"
        path.write_text(block if "topology" in block else f'topology = "dumbbell"\n{block}')
        read_scenario(path)


def test_what_each_backend_can_do_is_what_is_refused() -> None:
    rows = tables(SCENARIO_FILE, "What each backend can do")["settings"]
    bare = Direction(sender="a", sender_interface="a0", receiver="b", receiver_interface="b0")
    wrong: list[tuple[str, str]] = []
    seen: set[str] = set()
    for text, relay, kernel in rows:
        way = Way.from_text(text.strip("`"))
        direction = settle(bare, way, lambda *problem: wrong.append(problem))
        assert relay == "yes"
        assert kernel == ("no" if kernel_refusals(direction) else "yes"), text
        seen |= way.given().keys()
    assert wrong == []
    assert seen == set(TEXT_SETTINGS)


def test_every_discipline_is_documented_with_its_settings() -> None:
    rows = {row[0].strip("`"): row[1:] for row in tables(SCENARIO_FILE, "Queue")["discipline"]}
    assert set(rows) == set(queues.SETTINGS)
    for name, (limit, settings, ecn) in rows.items():
        assert set(re.findall(r"`(\w+)`", settings)) == set(queues.SETTINGS[name])
        assert limit.partition(",")[0] == queues.LIMIT_UNITS[name]
        assert ("must be given" in limit) == (name in queues.LIMIT_NEEDED)
        marks = "yes" if name in queues.MARKING else "no"
        assert ecn == ("always marks" if name == "cake" else marks)


def test_every_shape_of_a_variation_is_documented() -> None:
    text = section(SCENARIO_FILE, "Delay variation")
    assert [name for name in DISTRIBUTIONS if f"`2ms {name}`" not in text] == []
    assert f"at most {MAX_DISTRIBUTION_ENTRIES}" in text


def test_every_trace_is_documented_with_its_mean() -> None:
    rows = {row[0].strip("`"): row[2] for row in tables(SCENARIO_FILE, "Traces")["trace"]}
    means = {name: describe_trace(name).mean_bit_s / 1e6 for name in trace_names()}
    assert rows == {name: f"{mean:.3g} Mbit/s" for name, mean in means.items()}
    lines = f"{MAX_OPPORTUNITIES:,}".replace(",", " ")
    assert f"at most {lines} lines" in " ".join(section(SCENARIO_FILE, "Traces").split())


def test_the_extent_of_reordering_that_is_not_given() -> None:
    assert f"until {DEFAULT_EXTENT} later ones" in section(SCENARIO_FILE, "Reorder")


def test_every_parameter_of_tclink_is_documented() -> None:
    rows = tables(OWN_TOPOLOGY, "Parameters of `TCLink`")["parameter"]
    assert sorted(row[0].strip("`") for row in rows) == sorted([*tclink.KEYS, "delay", "loss"])


FLAGS = ("tls",)
"""Options of these commands that take no value."""


def test_every_command_of_the_page_is_read() -> None:
    commands = re.findall(r"^    \./tb run (.*)$", section(COMMAND_LINE, "`run`"), re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        target, *words = shlex.split(command)
        options: dict[str, Any] = {key: True for key in FLAGS if f"--{key}" in words}
        words = [word for word in words if word.removeprefix("--") not in FLAGS]
        for name, value in zip(words[::2], words[1::2], strict=True):
            key = name.removeprefix("--").replace("-", "_")
            if key in ("links", "schedule"):
                options.setdefault(key, []).append(value)
            else:
                options[key] = value
        build_scenario(target, options, spelling="command line")
