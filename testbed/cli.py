"""The command line: ``testbed run``, ``analyse``, ``report``, ``shell``, ``doctor``, ``list`` ...

Rules:

- It only reads what was typed, calls, and shows: no decision about an experiment is taken here.
- Standard output is for results, standard error for progress and for the one message of an error.
- The options are declared in `testbed.cli_options`.
- Values are taken as text and read by `testbed.scenario`, which tells all that is wrong at once.
- Whatever is slow to import (rich, polars, mininet) is imported by the command that needs it.
"""

from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, ParamSpec

import typer

from testbed import __version__
from testbed import cli_options as options
from testbed.cli_words import ListingGroup, OnceCommand, places_as_typed, wrapped
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
    cls=ListingGroup,
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
        @app.command(
            name=function.__name__.rstrip("_"),
            cls=OnceCommand,
            context_settings=context_settings,
        )
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

    text = f"testbed: error: {clean(message)}"
    if sys.stderr.isatty():  # a file or a pipe keeps each line whole
        text = wrapped(text, shutil.get_terminal_size().columns)
    print(text, file=sys.stderr)
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
    target: options.Target,
    app: options.App = None,
    app_environment: options.AppEnvironment = None,
    server: options.Server = None,
    workers: options.Workers = None,
    backlog: options.Backlog = None,
    receive_buffer: options.ReceiveBuffer = None,
    send_buffer: options.SendBuffer = None,
    http: options.Http = None,
    tls: options.Tls = None,
    ip: options.Ip = None,
    users: options.Users = None,
    rate: options.Rate = None,
    arrivals: options.Arrivals = None,
    requests: options.Requests = None,
    duration: options.Duration = None,
    method: options.Method = None,
    path: options.UrlPath = None,
    body: options.Body = None,
    timeout: options.Timeout = None,
    read_rate: options.ReadRate = None,
    write_rate: options.WriteRate = None,
    new_connections: options.NewConnections = None,
    connections: options.Connections = None,
    max_in_flight: options.MaxInFlight = None,
    think: options.Think = None,
    size: options.Size = None,
    mix: options.Mix = None,
    retries: options.Retries = None,
    backoff: options.Backoff = None,
    cancel: options.Cancel = None,
    connect_timeout: options.ConnectTimeout = None,
    read_timeout: options.ReadTimeout = None,
    write_timeout: options.WriteTimeout = None,
    pool_timeout: options.PoolTimeout = None,
    total_timeout: options.TotalTimeout = None,
    processes: options.Processes = None,
    client: options.Client = None,
    capacity: options.Capacity = None,
    queue: options.Queue = None,
    delay: options.Delay = None,
    delay_variation: options.DelayVariation = None,
    loss: options.Loss = None,
    duplicate: options.Duplicate = None,
    corrupt: options.Corrupt = None,
    reorder: options.Reorder = None,
    outage: options.Outage = None,
    schedule: options.Schedule = None,
    forward: options.Forward = None,
    reverse: options.Reverse = None,
    links: options.Links = None,
    nodes: options.Nodes = None,
    congestion_control: options.CongestionControl = None,
    link_backend: options.LinkBackend = None,
    switches: options.Switches = None,
    seed: options.Seed = None,
    probes: options.Probes = None,
    topology_options: options.TopologyOptions = None,
    expect: options.Expect = None,
    out: options.Out = None,
    as_json: options.AsJson = False,
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
    with RunProgress() as progress, places_as_typed(context):
        recording = start(scenario, out, progress.tell)
    return _show(recording.root, recording.summary, as_json)


@_command()
def analyse(folder: options.Folder, as_json: options.AsJson = False) -> int:
    """Judge a recording again, offline, and write its summary and report anew."""
    from testbed.run import finish

    return _show(folder, finish(folder), as_json)


@_command()
def report(folder: options.Folder, as_json: options.AsJson = False) -> int:
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
def journey(
    folder: options.Folder,
    request: options.RequestId = None,
    slowest: options.Slowest = None,
    failed: options.Failed = False,
) -> int:
    """Follow single requests of a recording through every layer.

    Each stage has its layer, its kind and its time; the stages of a request are contiguous and
    add up to its latency. Shows the slowest 5 requests, or those that are asked for.

    Example: testbed journey runs/1 --slowest 3
    """
    from testbed.report.journey import print_journeys

    print_journeys(_console(), folder, request=request, slowest=slowest, failed=failed)
    return EXIT_DONE


@_command()
def shell(
    context: typer.Context,
    target: options.Target,
    capacity: options.Capacity = None,
    queue: options.Queue = None,
    delay: options.Delay = None,
    delay_variation: options.DelayVariation = None,
    loss: options.Loss = None,
    duplicate: options.Duplicate = None,
    corrupt: options.Corrupt = None,
    reorder: options.Reorder = None,
    outage: options.Outage = None,
    schedule: options.Schedule = None,
    forward: options.Forward = None,
    reverse: options.Reverse = None,
    links: options.Links = None,
    ip: options.Ip = None,
    congestion_control: options.CongestionControl = None,
    link_backend: options.LinkBackend = None,
    switches: options.Switches = None,
    seed: options.Seed = None,
    topology_options: options.TopologyOptions = None,
) -> int:
    """Build a network and open Mininet's command line in it."""
    from testbed.run import shell as start

    with places_as_typed(context):
        return start(_scenario(context))


@_command()
def doctor(as_json: options.AsJson = False) -> int:
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
    quick: options.Quick = False,
    link_backend: options.LinkBackend = None,
    as_json: options.AsJson = False,
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
def list_(as_json: options.AsJson = False) -> int:
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

    given = {name: context.params.get(name) for name in option_names()}
    return build_scenario(context.params["target"], given, spelling="command line")


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
    from testbed.report.console import make_console

    return make_console()


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
