"""The report in the terminal: the same without colour, in 80 columns, no markup from a run."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from testbed.analysis.summary import Ledger, Summary, Verdict
from testbed.recording.manifest import Manifest
from testbed.report.text import WIDEST, print_report, repeat_command
from tests.builders.summaries import http, manifest, summary


def printed(
    seen: Summary,
    made: Manifest | None = None,
    root: Path | None = None,
    *,
    width: int = 80,
    colour: bool = False,
) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
    )
    print_report(console, seen, made, root)
    return out.getvalue()


def section(text: str, title: str) -> str:
    """The lines of a section, without its title."""
    after = text.partition(f"\n{title}\n")[2]
    return after.partition("\n\n")[0]


@pytest.mark.parametrize("status", ["faithful", "degraded", "invalid"])
def test_the_verdict_is_a_word_at_the_top(status: str) -> None:
    text = printed(summary(status))
    assert text.lstrip().startswith(status.upper())


@pytest.mark.parametrize(
    ("status", "code"), [("faithful", "32"), ("degraded", "33"), ("invalid", "31")]
)
def test_the_verdict_has_a_colour_too(status: str, code: str) -> None:
    head = printed(summary(status), colour=True).splitlines()[0]
    assert f";{code}" in head or f"[{code}" in head


def test_colour_adds_nothing_but_colour() -> None:
    coloured = printed(summary("invalid"), manifest(), colour=True)
    assert "\x1b[" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert plain == printed(summary("invalid"), manifest())


@pytest.mark.parametrize("width", [60, 80, 100, 120, 140, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = printed(summary("invalid"), manifest(), Path("/tmp/runs/one"), width=width)
    assert max(len(line) for line in text.splitlines()) <= min(width, WIDEST)


def test_http() -> None:
    text = section(printed(summary()), "HTTP")
    assert "200 requests: 197 completed, 3 failed (2 ReadTimeout and 1 HTTP 503)" in text
    assert "p50 41 ms   p90 63.4 ms   p99 287 ms   max 1.04 s" in text
    assert "completed 82.4/s   goodput 4.71 Mbit/s   connections 4" in text


def test_http_when_nothing_was_completed() -> None:
    none = http(completed=0, failed=200, failures={"ConnectError": 200}, latency_ns=None)
    text = section(printed(summary(http=none)), "HTTP")
    assert "200 requests: 0 completed, 200 failed (200 ConnectError)" in text
    assert "not observed: no request was completed" in text


def test_http_when_no_client_left_a_record() -> None:
    none = http(requests=None, completed=None, failed=None, failures={}, latency_ns=None)
    text = section(printed(summary(http=none)), "HTTP")
    assert text.strip() == "not observed: no client left a record"


def test_layers_from_http_down_to_the_link() -> None:
    text = section(printed(summary()), "Layers")
    names = [line.split()[0] for line in text.splitlines() if line[2:3].isalpha()]
    assert names == [
        *("http", "asgi", "event_loop", "syscall", "socket"),
        *("tcp", "ip", "qdisc", "nic", "link"),
    ]
    assert "not observed: switched off (--probes light)" in text
    assert "421 lost packets" in text


def test_links_both_ways() -> None:
    lines = section(printed(summary()), "Links").splitlines()
    [server] = [line for line in lines if "server → r1" in line]
    assert re.split(" +", server.strip())[3:] == [
        *("14\u202f203", "283", "(1.99", "%)", "0", "41"),
        *("24.3", "ms", "/", "78.1", "ms", "98.7", "%"),
    ]
    assert "delivered" not in lines[1]


def test_links_have_more_columns_where_there_is_room() -> None:
    text = section(printed(summary(), width=140), "Links")
    assert "delivered" in text
    assert "10 Mbit/s" in text


def test_a_run_without_links_has_no_table_of_them() -> None:
    assert "\nLinks\n" not in printed(summary(links={}))


def test_ledger() -> None:
    assert "balanced: 2 rows add up, packet for packet; 1 row not observed" in printed(summary())
    text = section(printed(summary("invalid"), width=120), "Ledger")
    assert "not balanced: 1 of 2 rows; 1 row not observed" in text
    assert (
        "r1-server forward: relay: 7102 entered, 6961 left, 138 dropped, 0 held; "
        "3 not accounted for" in text
    )
    empty = summary(ledger=Ledger(balanced=True, rows=[]))
    assert section(printed(empty), "Ledger").strip() == "not observed: it has no row"


def test_reasons_the_worst_first_and_the_good_ones_in_a_line() -> None:
    lines = section(printed(summary("invalid"), width=120), "Why this verdict").splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["✗", "invalid:"],
        ["~", "degraded:"],
        ["✓", "3"],
    ]
    assert lines[2].strip() == "✓ 3 checks passed: relay lateness, capture drops, stolen CPU"


def test_checks_of_one_name_are_counted() -> None:
    reasons = [*summary().verdict.reasons, *summary().verdict.reasons[:1]]
    many = summary(verdict=Verdict(status="faithful", reasons=reasons))
    assert "4 checks passed: relay lateness (2)," in printed(many)


def test_no_check_at_all() -> None:
    none = summary(verdict=Verdict(status="invalid", reasons=[]))
    assert section(printed(none), "Why this verdict").strip() == "no check was made"


def test_warnings_once_each() -> None:
    warned = summary(warnings=["a capacity on a host's own interface"])
    made = manifest(warnings=["a capacity on a host's own interface", "another"])
    lines = section(printed(warned, made), "Warnings").splitlines()
    assert [line.strip() for line in lines] == [
        "! a capacity on a host's own interface",
        "! another",
    ]


def test_a_run_that_failed_says_so_first() -> None:
    failed = summary("invalid", state="failed", failure="the server died")
    assert printed(failed).startswith("The run failed: the server died")
    stopped = summary("invalid", state="interrupted", failure="")
    assert printed(stopped).startswith("The run was interrupted: no reason is known")


def test_where_it_is_and_what_to_do_next(tmp_path: Path) -> None:
    text = printed(summary(), manifest(), tmp_path, width=140)
    assert str(tmp_path) in text
    assert "in a browser" not in text
    assert f"testbed analyse {tmp_path}" in text
    (tmp_path / "report.html").touch()
    assert str(tmp_path / "report.html") in printed(summary(), manifest(), tmp_path, width=140)


HOSTILE = "[red]x[/red] \x1b]0;title\x07 \x1b[2J <b>"


def test_nothing_from_a_run_is_markup_or_moves_the_cursor() -> None:
    base = summary("invalid", state="failed", failure=HOSTILE, warnings=[HOSTILE])
    hostile = msgspec.structs.replace(
        base,
        http=http(failures={HOSTILE: 3}),
        scenario={"topology": HOSTILE, "app": HOSTILE},
        links={f"{HOSTILE}-b": next(iter(base.links.values()))},
    )
    text = printed(hostile, manifest(command=["testbed", HOSTILE]), Path("/x"), width=120)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.count("[red]x[/red]") >= 5


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (["testbed", "run", "x"], "testbed run x --seed 7"),
        (["testbed", "run", "x", "--seed", "9"], "testbed run x --seed 9"),
        (["testbed", "run", "x", "--seed=9"], "testbed run x --seed=9"),
        (["testbed", "run", "x", "--path", "/a b"], "testbed run x --path '/a b' --seed 7"),
        (["testbed", "run", "x", "--out", "y"], "testbed run x --seed 7"),
        (["testbed", "run", "--out=y", "x"], "testbed run x --seed 7"),
        (["pytest", "-k", "run"], "pytest -k run"),
        ([], ""),
    ],
)
def test_the_command_that_repeats_a_run_has_its_seed(command: list[str], wanted: str) -> None:
    made: Any = manifest(command=command)
    assert shlex.join(repeat_command(made)) == wanted
