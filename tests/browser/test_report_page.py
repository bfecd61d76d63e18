"""The page in a real browser, offline: no request, no error, charts drawn, nothing too wide."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testbed.analysis.series import Series
from testbed.analysis.summary import JourneySummary
from testbed.report.html import render
from tests.builders.drawn_series import series
from tests.builders.summaries import MS, manifest, summary
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="playwright is not installed"
    ),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
ARGUMENTS = [
    *("--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
]
DESKTOP, TELEPHONE = (1280, 900), (390, 844)
PAGES = {
    "all": (summary("degraded"), series()),
    "one request": (summary(), series(1)),
    "many requests": (summary(), series(5_000)),
    "all failed": (summary("invalid"), series(all_failed=True)),
    "nothing": (
        summary("invalid", state="failed", failure="died", links={}, layers={}),
        Series(origin_ns=0, duration_ns=0),
    ),
}


@dataclass
class Seen:
    """What a browser made of a page."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, (seen, drawn) in PAGES.items():
        done = [
            value
            for one in drawn.latency
            for value, failed in zip(one.latency_ns, one.failed, strict=True)
            if not failed
        ]
        found[name] = folder / f"{name.replace(' ', '_')}.html"
        found[name].write_text(render(manifest(), seen, drawn, done), encoding="utf-8")
    return found


@contextmanager
def opened(
    browser: Browser, path: Path, size: tuple[int, int] = DESKTOP, scheme: Any = "light"
) -> Iterator[Seen]:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, offline=True
    )
    seen = Seen(context.new_page())
    seen.page.on("request", lambda one: seen.requests.append(one.url))
    seen.page.on("console", lambda one: seen.complaints.append(f"{one.type}: {one.text}"))
    seen.page.on("pageerror", lambda one: seen.complaints.append(str(one)))
    seen.page.goto(path.as_uri(), wait_until="load")
    yield seen
    context.close()


@pytest.mark.parametrize("size", [DESKTOP, TELEPHONE], ids=["desktop", "telephone"])
@pytest.mark.parametrize("name", PAGES)
def test_no_request_no_error_and_nothing_too_wide(
    browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int]
) -> None:
    with opened(browser, pages[name], size) as seen:
        outside = [url for url in seen.requests if not url.startswith(("file:", "data:", "blob:"))]
        assert outside == []
        assert seen.complaints == []
        widths = seen.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert widths[0] <= widths[1]


@pytest.mark.parametrize(
    ("name", "charts"),
    [
        ("all", ["distribution", "latency", "queue", "throughput"]),
        ("one request", ["distribution", "latency", "queue", "throughput"]),
        ("all failed", ["latency", "queue", "throughput"]),
        ("nothing", []),
    ],
)
def test_the_charts_are_drawn(
    browser: Browser, pages: dict[str, Path], name: str, charts: list[str]
) -> None:
    with opened(browser, pages[name]) as seen:
        drawn = seen.page.evaluate(
            "[...document.querySelectorAll('.chart .main-svg:first-child')]"
            ".map((one) => one.closest('.chart').id)"
        )
        assert sorted(drawn) == [f"chart-{chart}" for chart in charts]
        assert seen.page.locator(".missing").count() == 4 - len(charts)


def test_every_request_is_a_point(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["all"]) as seen:
        assert seen.page.locator("#chart-latency .point").count() == 200


def test_names_of_the_legend_switch_lines_on_and_off(
    browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages["all"]) as seen:
        lines = seen.page.locator("#chart-throughput .scatterlayer .trace")
        legend = seen.page.locator(".legend:has(+ #chart-throughput) button")
        assert legend.all_text_contents() == [
            *("server → r1", "r1 → server", "r1 → client", "client → r1")
        ]
        shown = lines.count()
        legend.nth(2).click()
        assert legend.nth(2).get_attribute("aria-pressed") == "true"
        assert lines.count() == shown + 1
        legend.nth(0).click()
        assert lines.count() == shown


def test_no_text_of_a_chart_is_cut_off_on_a_telephone(
    browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages["all"], TELEPHONE) as seen:
        outside = seen.page.evaluate(
            """[...document.querySelectorAll('.chart text')]
               .filter((one) => one.getBoundingClientRect().width > 0)
               .filter((one) => {
                 const box = one.getBoundingClientRect();
                 const place = one.closest('.chart').getBoundingClientRect();
                 return box.left < place.left - 1 || box.right > place.right + 1;
               }).map((one) => one.textContent)"""
        )
        assert outside == []


def test_labels_of_the_topology_do_not_lie_on_its_nodes(
    browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages["all"]) as seen:
        overlapping = seen.page.evaluate(
            """[...document.querySelectorAll('.topology .setting')].filter((label) => {
                 const a = label.getBoundingClientRect();
                 return [...document.querySelectorAll('.topology rect')].some((node) => {
                   const b = node.getBoundingClientRect();
                   return a.left < b.right && b.left < a.right &&
                          a.top < b.bottom && b.top < a.bottom;
                 });
               }).map((one) => one.textContent)"""
        )
        assert overlapping == []


CONTRAST = """() => {
  const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const channel = (v) => linear(v / 255);
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const read = (name) => {
    const probe = document.createElement('span');
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color.match(/[0-9.]+/g).map(Number);
    probe.remove();
    return found;
  };
  const ratio = (a, b) => {
    const [x, y] = [light(read(a)), light(read(b))].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const pairs = [['--fg', '--bg'], ['--muted', '--bg'], ['--fg', '--card'], ['--muted', '--card'],
    ['--good', '--good-bg'], ['--warn', '--warn-bg'], ['--bad', '--bad-bg'], ['--bad', '--bg'],
    ['--hot', '--bg'], ['--limit', '--bg'], ['--fg', '--good-bg'], ['--muted', '--warn-bg']];
  const lines = ['1', '2', '3', '4', '5', '6', '7'].map((n) => [`--series-${n}`, '--bg']);
  return { text: pairs.map((p) => [p.join(' on '), ratio(...p)]),
           lines: lines.map((p) => [p.join(' on '), ratio(...p)]) };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read(browser: Browser, pages: dict[str, Path], scheme: str) -> None:
    # WCAG 2.2: 4.5 for text (1.4.3), 3 for graphics (1.4.11).
    with opened(browser, pages["all"], scheme=scheme) as seen:
        found = seen.page.evaluate(CONTRAST)
        assert [one for one in found["text"] if one[1] < 4.5] == []
        assert [one for one in found["lines"] if one[1] < 3] == []


def test_charts_follow_the_scheme(browser: Browser, pages: dict[str, Path]) -> None:
    colour = "getComputedStyle(document.querySelector('#chart-latency .xtick text')).fill"
    with opened(browser, pages["all"], scheme="dark") as seen:
        dark = seen.page.evaluate(colour)
        seen.page.emulate_media(color_scheme="light")
        # Not page.wait_for_function: it evaluates text in the page, which its policy forbids.
        eventually(
            lambda: seen.page.evaluate(colour) != dark, within_s=20, what="another text colour"
        )


def test_commands_have_the_folder_that_the_page_lies_in(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("it's here")
    path = folder / "report.html"
    followed = JourneySummary(requests=0, explained_ratio=None, explained_requests_ratio=None)
    failed = summary(journeys=followed)
    path.write_text(render(manifest(), failed, series(), [MS]), encoding="utf-8")
    with opened(browser, path) as seen:
        command = seen.page.locator("code:has(.folder)").first.text_content()
        assert shlex.split(command or "") == ["testbed", "journey", str(folder), "--failed"]
        assert "DIR" not in (seen.page.locator("main").text_content() or "")


def test_it_can_be_printed(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["all"], scheme="dark") as seen:
        assert seen.page.pdf(format="A4").startswith(b"%PDF")
        assert seen.complaints == []
