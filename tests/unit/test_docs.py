"""What docs/ says is what the code does: fields, options, exit codes, checks, links.

A page documents a type under a heading with the type's name in backquotes, in a table whose first
column is the field's name in backquotes.
"""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import typer.main

from testbed import cli, errors, pytest_plugin
from testbed.analysis import checks, summary, verdict, verdict_machine
from testbed.analysis.analyse import analyse
from testbed.analysis.figure_names import FIGURES
from testbed.analysis.foreseen import check_expectations, foreseen
from testbed.events import LAYERS, tracepoints
from testbed.probes.tracepoints import EVENTS
from testbed.recording import manifest
from testbed.scenario import catalogue, load, model, nodes
from testbed.scenario.expectation import PARTS
from tests.builders.frames import ACK, SYN, tcp
from tests.builders.recordings import MS, Run

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])

HEADING = re.compile(r"(#+) (.*)")
NAMED = re.compile(r"\| `([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
EVENT_SECTIONS = ["What it is", "Source", "Fields", "Overhead", "Blind spots"]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> list[str]:
    """The lines of a page outside of code blocks."""
    lines = []
    fenced = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            lines.append(line)
    return lines


def headings(page: Path, level: int) -> list[str]:
    found = (HEADING.fullmatch(line) for line in prose(page))
    return [match[2] for match in found if match and len(match[1]) == level]


def names_by_heading(page: Path) -> dict[str, list[str]]:
    """The names in the first columns of the tables under each heading."""
    found: dict[str, list[str]] = {}
    here = ""
    for line in prose(page):
        if match := HEADING.fullmatch(line):
            here = match[2]
        elif match := NAMED.match(line):
            found.setdefault(here, []).append(match[1])
    return found


def all_names_by_heading(page: Path) -> dict[str, list[str]]:
    """The same for rows that name several, and for headings of any kind."""
    found: dict[str, list[str]] = {}
    here = ""
    for line in prose(page):
        if match := HEADING.fullmatch(line):
            here = match[2]
        elif line.startswith("| `"):
            found.setdefault(here, []).extend(re.findall(r"`(\w+)`", line.split("|")[1]))
    return {heading: sorted(names) for heading, names in found.items()}


def names_of_types(page: Path) -> dict[str, list[str]]:
    """The same for headings that name a type, ``### `HttpRequest` ``."""
    found = {}
    for heading, names in names_by_heading(page).items():
        if match := re.search(r"`(\w+)`$", heading):
            found[match[1]] = sorted(names)
    return found


def structs(module: Any) -> dict[str, list[str]]:
    """The public struct types of a module with their fields."""
    return {
        name: sorted(value.__struct_fields__)
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


def anchors(page: Path) -> set[str]:
    """The anchors that a git host makes of a page's headings."""
    lines = (HEADING.fullmatch(line) for line in prose(page))
    texts = (match[2].lower().replace("`", "") for match in lines if match)
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("layer", LAYERS)
def test_an_event_page_has_its_sections_and_every_field(layer: str) -> None:
    page = REFERENCE / "events" / f"{layer}.md"
    assert headings(page, 2) == EVENT_SECTIONS
    assert names_of_types(page) == structs(importlib.import_module(f"testbed.events.{layer}"))


def test_every_layer_has_events() -> None:
    modules = {path.stem for path in (ROOT / "testbed" / "events").glob("*.py")}
    assert set(LAYERS) <= modules


def test_the_page_of_tracepoints_has_its_sections_and_every_field() -> None:
    page = REFERENCE / "tracepoints.md"
    assert headings(page, 2) == EVENT_SECTIONS
    assert names_of_types(page) == structs(tracepoints)


def test_the_page_of_tracepoints_has_every_event() -> None:
    text = (REFERENCE / "tracepoints.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if re.match(r"\| `\w+:", line)]
    named = []
    for row in rows:
        system = row.partition(":")[0].strip(" `")
        named += [
            f"{system}:{name.partition(':')[2] or name}" for name in re.findall(r"`([\w:]+)`", row)
        ]
    assert sorted(named) == sorted(EVENTS)


def test_summary_page_has_every_field() -> None:
    assert names_of_types(REFERENCE / "summary.md") == structs(summary)


def test_recording_page_has_every_field_of_the_manifest() -> None:
    assert names_of_types(REFERENCE / "recording.md") == structs(manifest)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, summary.Summary]:
    """A recording with a corrupted and an overtaken packet, analysed."""
    run = Run()
    run.send("server", 0, tcp(40000, 8000, 99, flags=SYN))
    run.send("client", 5 * MS, tcp(8000, 40000, 499, 100, flags=SYN | ACK), extra_ns=2 * MS)
    run.send("client", 6 * MS, tcp(8000, 40000, 500, 100), corrupted="r1-server")
    root = run.write(tmp_path_factory.mktemp("docs") / "run").root
    return root, analyse(root)


def test_every_figure_of_every_layer_is_documented(
    recording: tuple[Path, summary.Summary],
) -> None:
    figures = {
        name: sorted(
            f for aspect in (layer.loss, layer.reordering, layer.backpressure) for f in aspect or ()
        )
        for name, layer in recording[1].layers.items()
        if layer.status == "observed"
    }
    assert all_names_by_heading(REFERENCE / "figures.md") == figures


def test_the_figures_that_are_known_before_a_run_are_those_of_a_recording(
    recording: tuple[Path, summary.Summary],
) -> None:
    for name, layer in recording[1].layers.items():
        aspects = msgspec.structs.asdict(layer)
        seen = {
            aspect: sorted(aspects[aspect])
            for aspect in ("loss", "reordering", "backpressure")
            if aspects[aspect] is not None
        }
        known = {aspect: sorted(names) for aspect, names in FIGURES[name].items()}
        assert layer.status == "observed"
        assert known == seen, name


def test_all_of_a_recording_can_be_foreseen(recording: tuple[Path, summary.Summary]) -> None:
    """Places in its summary: what stands there is what was to be expected there."""
    seen = msgspec.to_builtins(recording[1])
    _compare({part: seen[part] for part in PARTS}, foreseen(seen["links"]))


def _compare(seen: Any, known: Any) -> None:
    if known is None or known == {}:  # names that only the run knows
        return
    assert isinstance(known, dict) == isinstance(seen, dict)
    if not isinstance(seen, dict):
        return
    for name, value in seen.items():
        if value is not None:
            _compare(value, known[name])


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_expectation_in_an_example_is_one_of_a_figure(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    given = re.findall(r"""--expect[ =](?:'([^'\n]+)'|"([^"\n]+)")""", text)
    texts = [one or other for one, other in given]
    # A page's links are its own topology's.
    links = {match[1] for one in texts if (match := re.match(r"links\.(.+)\.(?:for|rev)", one))}
    check_expectations(texts, links)


def test_every_row_of_the_ledger_is_documented(recording: tuple[Path, summary.Summary]) -> None:
    rows = {row.what.rpartition(": ")[2] for row in recording[1].ledger.rows}
    assert set(names_by_heading(REFERENCE / "summary.md")["Rows of the ledger"]) == rows


def test_every_column_of_the_tables_of_captures_is_documented(
    recording: tuple[Path, summary.Summary],
) -> None:
    tables = {
        name: sorted(pl.read_parquet_schema(recording[0] / "events" / f"{name}.parquet"))
        for name in ("packets", "crossings")
    }
    assert names_of_types(REFERENCE / "captures.md") == tables


def test_every_file_of_a_recording_is_documented(recording: tuple[Path, summary.Summary]) -> None:
    found = {str(path.relative_to(recording[0])) for path in recording[0].rglob("*.parquet")}
    named = {
        name
        for page in ("events/README.md", "recording.md")
        for name in re.findall(r"`((?:events|links)/[^`]+)`", (REFERENCE / page).read_text("utf-8"))
    }
    assert {f"links/{name}.parquet" for name in ("client-r1", "r1-server")} <= found
    assert {name for name in found if name.startswith("events/")} <= named


def test_scenario_page_has_every_key() -> None:
    wanted = structs(model) | structs(load) | structs(nodes)
    # A link has every setting of a direction, which stand in their own table.
    wanted["Link"] = sorted(set(wanted["Link"]) - set(wanted["Way"]))
    assert names_of_types(REFERENCE / "scenario_file.md") == wanted


def test_the_import_contract_is_drawn_as_it_is_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    drawing = " > ".join(layer for layer in layers if not layer.startswith("("))
    page = (DOCS / "explanation" / "design.md").read_text(encoding="utf-8")
    assert f" {drawing} " in " ".join(page.split())


def test_every_exit_code_is_documented() -> None:
    codes = {name: str(value) for name, value in vars(errors).items() if name.startswith("EXIT_")}
    text = (REFERENCE / "exit_codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)
    assert {name: code for code, name in rows} == codes
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", readme, re.MULTILINE) == sorted(codes.values())


def test_every_error_is_documented_with_its_exit_code() -> None:
    text = (REFERENCE / "python_api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\d) \|", text, re.MULTILINE)
    known = [
        (name, value.__base__.__name__, str(value.exit_code))
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.TestbedError) and value.__base__
    ]
    assert sorted(rows) == sorted(known)


def test_every_option_of_the_pytest_plugin_is_documented() -> None:
    parser = pytest.Parser(_ispytest=True)
    pytest_plugin.pytest_addoption(parser)
    options = [name for option in parser.getgroup("testbed").options for name in option.names()]
    page = names_by_heading(REFERENCE / "pytest_plugin.md")
    assert [name.split()[0] for name in page["Options"]] == options


def commands() -> dict[str, list[str]]:
    """The commands of the command line with their options, ``--json``, and without ``--help``."""
    group = typer.main.get_command(cli.app)
    found = {}
    for name, command in vars(group)["commands"].items():
        options = [p for p in command.params if p.param_type_name == "option"]
        found[name] = sorted(option.opts[-1] for option in options)
    return found


def test_every_option_of_every_command_is_documented() -> None:
    page = names_by_heading(REFERENCE / "command_line.md")
    documented = {
        heading.strip("`"): sorted(name.split()[0] for name in names)
        for heading, names in page.items()
        if heading.startswith("`")
    }
    assert documented == commands()


@pytest.mark.parametrize("page", ["README.md", "docs/reference/command_line.md"])
def test_every_command_is_in_the_table_of_commands(page: str) -> None:
    rows = re.findall(r"^\| `\./tb (\w+)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted([*commands(), "test", "setup"])


def test_every_topology_and_each_of_its_options_is_on_its_page() -> None:
    page = REFERENCE / "topologies.md"
    entries = catalogue.topologies()
    named = names_by_heading(page)["Topologies"]
    assert sorted(named) == sorted(entry.name for entry in entries)
    text = page.read_text(encoding="utf-8")
    options = {option.name for entry in entries for option in entry.options}
    assert [name for name in sorted(options) if not re.search(rf"`{name}[`=]", text)] == []


def test_every_name_that_a_scenario_can_use_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    entries = [*catalogue.topologies(), *catalogue.apps(), *catalogue.servers()]
    assert [entry.name for entry in entries if f"`{entry.name}`" not in readme] == []


def check_names(module: Any) -> set[str]:
    """The names of checks in a source: ``check=...`` and first arguments of its helpers."""
    found: set[object] = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_bytes())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            given = [k.value for k in node.keywords if k.arg == "check"]
            given += node.args[:1] if name in {"not_made", "_counted"} else []
            found |= {value.value for value in given if isinstance(value, ast.Constant)}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "check":
            found |= {node.value.value} if isinstance(node.value, ast.Constant) else set()
    return {name for name in found if isinstance(name, str)}


def test_every_check_of_the_verdict_is_explained() -> None:
    page = names_by_heading(DOCS / "explanation" / "verdict.md")
    assert sorted(page["Checks"]) == sorted(
        check_names(verdict) | check_names(verdict_machine) | check_names(checks)
    )


def test_every_bound_of_the_verdict_is_explained() -> None:
    text = (DOCS / "explanation" / "verdict.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([\d.]+) \|", text, re.MULTILINE)
    bounds = {
        name: value
        for name, value in (vars(verdict) | vars(verdict_machine)).items()
        if name.isupper() and not name.startswith(("_", "NS_PER")) and not isinstance(value, str)
    }
    assert {name: float(value) for name, value in rows} == bounds


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in ("".join(parts) for line in prose(page) for parts in LINK.findall(line)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        inside = target.resolve().is_relative_to(ROOT)
        if not (inside and target.exists() and (not anchor or anchor in anchors(target))):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = ("".join(parts) for line in prose(page) for parts in LINK.findall(line))
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links]
    assert [page_name(page) for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_prose_keeps_to_the_line_length(page: Path) -> None:
    # Neither rows of a table nor commands can be broken.
    lines = [line for line in prose(page) if not line.startswith(("|", "    "))]
    assert [line for line in lines if len(line) > 100] == []
