"""The command line: ``testbed run``, ``analyse``, ``report``, ``shell``, ``doctor``, ``list``.

Rules:

- It only reads what was typed, calls, and shows: no decision about an experiment is taken here.
- Standard output is for results, standard error for progress and for the one message of an error.
- Values are taken as text and read by `testbed.scenario`, which tells all that is wrong at once.
- Whatever is slow to import (rich, polars, mininet) is imported by the command that needs it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, ParamSpec

import typer

from testbed import __version__
from testbed.errors import (
    EXIT_DONE,
    EXIT_EXPECTATION_FAILED,
    EXIT_INVALID,
    EXIT_MACHINE_CANNOT,
    EXIT_RUN_FAILED,
    TestbedError,
)

if TYPE_CHECKING:
    from testbed.analysis.summary import Summary
    from testbed.scenario import Scenario

P = ParamSpec("P")

_EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 an expectation failed; 2 the request was wrong; 3 this machine cannot "
    "do it; 4 the run failed; 5 the run is done but invalid."
)

app = typer.Typer(
    name="testbed",
    help="A network laboratory for HTTP in Python, on one Linux machine.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _option(name: str, metavar: str, help_text: str, panel: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help_text, rich_help_panel=panel)


_LOAD, _LINK, _RUN, _OUT = "Load", "Link (applies to the links marked bottleneck)", "Run", "Output"

Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        show_default=False,
        help="A topology's name (see `testbed list`), FILE.py:Class (a Mininet Topo) or FILE.toml.",
    ),
]
Folder = Annotated[
    Path, typer.Argument(metavar="DIR", show_default=False, help="The folder of a recording.")
]
App = Annotated[
    str | None,
    _option("--app", "NAME", "Application: a name, or module:attribute.  (default: hello)", _RUN),
]
Server = Annotated[
    str | None, _option("--server", "NAME", "Server that runs it.  (default: hypercorn)", _RUN)
]
CongestionControl = Annotated[
    str | None,
    _option("--congestion-control", "NAME", "TCP's, of every host.  (default: cubic)", _RUN),
]
LinkBackend = Annotated[
    str | None,
    _option(
        "--link-backend", "auto|kernel|relay", "What emulates the wire.  (default: auto)", _RUN
    ),
]
Seed = Annotated[
    str | None, _option("--seed", "N", "Key of all random streams.  (default: drawn)", _RUN)
]
Probes = Annotated[
    str | None,
    _option("--probes", "all|light|none", "How much is observed.  (default: all)", _RUN),
]
TopologyOptions = Annotated[
    list[str] | None,
    _option("--topology-option", "NAME=VALUE", "Option of the topology; may be repeated.", _RUN),
]
Users = Annotated[
    str | None, _option("--users", "N", "Concurrent users of each client.  (default: 1)", _LOAD)
]
Rate = Annotated[
    str | None,
    _option("--rate", "R/s", "Open loop: start requests at this rate, such as 200/s.", _LOAD),
]
Arrivals = Annotated[
    str | None,
    _option("--arrivals", "poisson|periodic", "Spacing at --rate.  (default: poisson)", _LOAD),
]
Requests = Annotated[
    str | None,
    _option("--requests", "N", "Requests of each client in all.  (default: 100)", _LOAD),
]
Duration = Annotated[
    str | None, _option("--duration", "TIME", "Start requests for this long: 30s.", _LOAD)
]
Method = Annotated[str | None, _option("--method", "NAME", "HTTP method.  (default: GET)", _LOAD)]
UrlPath = Annotated[
    str | None, _option("--path", "PATH", "Path and query of each request.  (default: /)", _LOAD)
]
Body = Annotated[str | None, _option("--body", "SIZE", "Size of each request's body: 64kB.", _LOAD)]
Timeout = Annotated[
    str | None,
    _option("--timeout", "TIME", "Limit on each phase of a request.  (default: 30s)", _LOAD),
]
Capacity = Annotated[
    str | None, _option("--capacity", "RATE", "Bits per second on the wire: 10mbit.", _LINK)
]
Delay = Annotated[str | None, _option("--delay", "TIME", "One-way delay: 20ms.", _LINK)]
Loss = Annotated[
    str | None, _option("--loss", "PERCENT", "Packets lost at random, each way: 1%.", _LINK)
]
Queue = Annotated[
    str | None, _option("--queue", "LIMIT", "Limit of the queue before it: 50p or 64kB.", _LINK)
]
Out = Annotated[
    Path | None,
    _option("--out", "DIR", "Folder of the recording.  (default: runs/UTC_TIME-TOPOLOGY)", _OUT),
]
AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="Print JSON.", rich_help_panel=_OUT)
]


def _command(
    context_settings: dict[str, Any] | None = None,
) -> Callable[[Callable[P, int | None]], Callable[P, None]]:
    """Registers a command that returns its exit code; errors on purpose become one message."""

    def register(function: Callable[P, int | None]) -> Callable[P, None]:
        @app.command(name=function.__name__.rstrip("_"), context_settings=context_settings)
        @wraps(function)
        def command(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                code = function(*args, **kwargs)
            except TestbedError as error:
                raise typer.Exit(_complain(str(error), error.exit_code)) from error
            except KeyboardInterrupt as error:
                raise typer.Exit(_complain("stopped by the user", EXIT_RUN_FAILED)) from error
            raise typer.Exit(code or EXIT_DONE)

        return command

    return register


def _complain(message: str, exit_code: int) -> int:
    from testbed.report.format import clean

    print(f"testbed: error: {clean(message)}", file=sys.stderr)
    return exit_code


def _version(wanted: bool) -> None:
    if wanted:
        print(f"testbed {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


@_command()
def run(
    context: typer.Context,
    target: Target,
    app: App = None,
    server: Server = None,
    users: Users = None,
    rate: Rate = None,
    arrivals: Arrivals = None,
    requests: Requests = None,
    duration: Duration = None,
    method: Method = None,
    path: UrlPath = None,
    body: Body = None,
    timeout: Timeout = None,
    capacity: Capacity = None,
    delay: Delay = None,
    loss: Loss = None,
    queue: Queue = None,
    congestion_control: CongestionControl = None,
    link_backend: LinkBackend = None,
    seed: Seed = None,
    probes: Probes = None,
    topology_options: TopologyOptions = None,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Run an experiment and judge it.

    Builds the network of TARGET in private namespaces, serves and loads the application
    in it, records every layer, and reports where data was lost, overtaken or held up, and
    whether to believe it.

    Example: testbed run single_bottleneck --requests 200 --capacity 10mbit --delay 20ms --loss 2%
    """
    from testbed.report.progress import RunProgress
    from testbed.run import run as start

    scenario = _scenario(context)
    with RunProgress() as progress:
        recording = start(scenario, out, progress.tell)
    return _show(recording.root, recording.summary, as_json)


@_command()
def analyse(folder: Folder, as_json: AsJson = False) -> int:
    """Judge a recording again, offline, and write its summary and report anew."""
    from testbed.run import finish

    return _show(folder, finish(folder), as_json)


@_command()
def report(folder: Folder, as_json: AsJson = False) -> int:
    """Show the report of a recording, and write report.html anew."""
    from testbed.recording.layout import open_layout
    from testbed.report.html import read_summary, write_report

    summary = read_summary(open_layout(folder))
    try:
        write_report(folder)
    except OSError as error:  # a recording that may only be read can be shown all the same
        print(f"testbed: warning: report.html was not written: {error}", file=sys.stderr)
    _show(folder, summary, as_json)
    return EXIT_DONE


@_command()
def shell(
    context: typer.Context,
    target: Target,
    capacity: Capacity = None,
    delay: Delay = None,
    loss: Loss = None,
    queue: Queue = None,
    congestion_control: CongestionControl = None,
    link_backend: LinkBackend = None,
    seed: Seed = None,
    topology_options: TopologyOptions = None,
) -> int:
    """Build a network and open Mininet's command line in it."""
    from testbed.run import shell as start

    return start(_scenario(context))


@_command()
def doctor(as_json: AsJson = False) -> int:
    """Say what this machine can do, what is missing, and how to get it."""
    from testbed.doctor import examine

    abilities = examine()
    if as_json:
        _print_json(abilities)
    else:
        from testbed.report.tables import print_abilities

        print_abilities(_console(), abilities)
    lacking = any(not ability.ok and ability.required for ability in abilities)
    return EXIT_MACHINE_CANNOT if lacking else EXIT_DONE


@_command()
def list_(as_json: AsJson = False) -> int:
    """List the topologies, applications and servers that have a name."""
    from testbed.scenario import catalogue

    kinds = {
        "topologies": catalogue.topologies(),
        "apps": catalogue.apps(),
        "servers": catalogue.servers(),
    }
    if as_json:
        _print_json(kinds)
    else:
        from testbed.report.tables import print_catalogue

        print_catalogue(_console(), kinds)
    return EXIT_DONE


def _scenario(context: typer.Context) -> Scenario:
    """The scenario that was typed."""
    from testbed.scenario.build import build_scenario, option_names

    options = {name: context.params.get(name) for name in option_names()}
    return build_scenario(context.params["target"], options, spelling="command line")


def _show(root: Path, summary: Summary, as_json: bool) -> int:
    """Prints the numbers of a run; returns the exit code that they deserve."""
    from testbed.recording.layout import Layout
    from testbed.recording.manifest import read_manifest

    layout = Layout(root)
    if as_json:
        sys.stdout.write(layout.summary.read_text(encoding="utf-8"))
    else:
        from testbed.report.text import print_report

        print_report(_console(), summary, read_manifest(layout), root)
    return exit_code(summary)


def exit_code(summary: Summary) -> int:
    """The exit code for a run that came to its end with these numbers."""
    if summary.verdict.status == "invalid":
        return EXIT_INVALID
    if not all(expectation.holds for expectation in summary.expectations):
        return EXIT_EXPECTATION_FAILED
    return EXIT_DONE


def _console() -> Any:
    from rich.console import Console

    return Console()


def _print_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def main() -> None:
    """The command `testbed`; a fault of the testbed itself leaves its traceback and exit code 4."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign shows another
    try:
        app()
    except Exception:  # noqa: BLE001 - the last one to see it
        traceback.print_exc()
        sys.exit(EXIT_RUN_FAILED)


if __name__ == "__main__":
    main()
