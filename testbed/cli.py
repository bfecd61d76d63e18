"""The command line: ``testbed run``, ``analyse``, ``report``, ``shell``, ``doctor``, ``list`` ...

Rules:

- It only reads what was typed, calls, and shows: no decision about an experiment is taken here.
- Standard output is for results, standard error for progress and for the one message of an error.
- The options are declared in `testbed.cli_options`.
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
from testbed.cli_options import (
    App,
    AppEnvironment,
    Arrivals,
    AsJson,
    Backlog,
    Body,
    Capacity,
    CongestionControl,
    Corrupt,
    Delay,
    DelayVariation,
    Duplicate,
    Duration,
    Expect,
    Folder,
    Forward,
    Http,
    Ip,
    LinkBackend,
    Links,
    Loss,
    Method,
    NewConnections,
    Nodes,
    Out,
    Outage,
    Probes,
    Queue,
    Quick,
    Rate,
    ReadRate,
    ReceiveBuffer,
    Reorder,
    RequestId,
    Requests,
    Reverse,
    Schedule,
    Seed,
    SendBuffer,
    Server,
    Slowest,
    Target,
    Timeout,
    Tls,
    TopologyOptions,
    UrlPath,
    Users,
    Workers,
    WriteRate,
)
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
    app_environment: AppEnvironment = None,
    server: Server = None,
    workers: Workers = None,
    backlog: Backlog = None,
    receive_buffer: ReceiveBuffer = None,
    send_buffer: SendBuffer = None,
    http: Http = None,
    tls: Tls = None,
    ip: Ip = None,
    users: Users = None,
    rate: Rate = None,
    arrivals: Arrivals = None,
    requests: Requests = None,
    duration: Duration = None,
    method: Method = None,
    path: UrlPath = None,
    body: Body = None,
    timeout: Timeout = None,
    read_rate: ReadRate = None,
    write_rate: WriteRate = None,
    new_connections: NewConnections = None,
    capacity: Capacity = None,
    queue: Queue = None,
    delay: Delay = None,
    delay_variation: DelayVariation = None,
    loss: Loss = None,
    duplicate: Duplicate = None,
    corrupt: Corrupt = None,
    reorder: Reorder = None,
    outage: Outage = None,
    schedule: Schedule = None,
    forward: Forward = None,
    reverse: Reverse = None,
    links: Links = None,
    nodes: Nodes = None,
    congestion_control: CongestionControl = None,
    link_backend: LinkBackend = None,
    seed: Seed = None,
    probes: Probes = None,
    topology_options: TopologyOptions = None,
    expect: Expect = None,
    out: Out = None,
    as_json: AsJson = False,
) -> int:
    """Run an experiment and judge it.

    Builds the network of TARGET in private namespaces, serves and loads the
    application in it, records every layer, and reports where data was lost,
    overtaken or held up, and whether to believe it.

    Example: testbed run single_bottleneck --requests 200 --delay 20ms --loss 2%

    All about links, with examples: docs/reference/scenario_file.md
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
def journey(folder: Folder, request: RequestId = None, slowest: Slowest = None) -> int:
    """Follow single requests of a recording through every layer.

    Each stage has its layer, its kind and its time; the stages of a request are contiguous and
    add up to its latency. Shows the slowest 5 requests, or those that are asked for.

    Example: testbed journey runs/1 --slowest 3
    """
    from testbed.report.journey import print_journeys

    print_journeys(_console(), folder, request=request, slowest=slowest)
    return EXIT_DONE


@_command()
def shell(
    context: typer.Context,
    target: Target,
    capacity: Capacity = None,
    queue: Queue = None,
    delay: Delay = None,
    delay_variation: DelayVariation = None,
    loss: Loss = None,
    duplicate: Duplicate = None,
    corrupt: Corrupt = None,
    reorder: Reorder = None,
    outage: Outage = None,
    schedule: Schedule = None,
    forward: Forward = None,
    reverse: Reverse = None,
    links: Links = None,
    ip: Ip = None,
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
    from testbed.calibration.ability import calibrated
    from testbed.doctor import examine

    abilities = [*examine(), calibrated()]
    if as_json:
        _print_json(abilities)
    else:
        from testbed.report.tables import print_abilities

        print_abilities(_console(), abilities)
    lacking = any(not ability.ok and ability.required for ability in abilities)
    return EXIT_MACHINE_CANNOT if lacking else EXIT_DONE


@_command()
def calibrate(
    quick: Quick = False, link_backend: LinkBackend = None, as_json: AsJson = False
) -> int:
    """Measure how faithful the links are on this machine, and keep the result.

    Measures delay, rate, loss and throughput of links as a run builds them, in private
    namespaces, and derives what capacities and delays are faithful here. `testbed run` then
    warns when it is asked for more. Takes under 90 s; best when nothing else runs.
    """
    from testbed.calibration.calibrate import calibrate as measure
    from testbed.calibration.calibrate import read_backend
    from testbed.report.progress import RunProgress

    asked = read_backend(link_backend)
    with RunProgress() as progress:
        found = measure(asked, quick=quick, on_progress=progress.tell)
    if as_json:
        _print_json(found)
    else:
        from testbed.calibration.show import print_calibration

        print_calibration(_console(), found)
    return EXIT_DONE


@_command()
def list_(as_json: AsJson = False) -> int:
    """List the topologies, applications, servers and traces that have a name."""
    from testbed.scenario import catalogue

    kinds = {
        "topologies": catalogue.topologies(),
        "apps": catalogue.apps(),
        "servers": catalogue.servers(),
        "traces": catalogue.traces(),
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
