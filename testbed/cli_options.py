"""The options of the command line, with their help.

Every option of a scenario is taken as text; `testbed.scenario` reads it. Its name is the field's,
and what is not given is None.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

LOAD: Final = "Load"
SHAPE: Final = "Load: what each request is, and what the client does about it"
LINK: Final = "Link: each direction that the topology marks as bottleneck"
SOME: Final = "Link: later, one direction, one link"
RUN: Final = "Run"
OUT: Final = "Output"


def _option(name: str, metavar: str, help_text: str, panel: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help_text, rich_help_panel=panel)


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
    _option("--app", "NAME", "Application: a name, or module:attribute.  (default: hello)", RUN),
]
AppEnvironment = Annotated[
    str | None,
    _option("--app-environment", "DIR", "A virtual environment with the packages it needs.", RUN),
]
Server = Annotated[
    str | None,
    _option(
        "--server", "NAME", "Server that runs it: see `testbed list`.  (default: hypercorn)", RUN
    ),
]
Workers = Annotated[
    str | None,
    _option("--workers", "N", "Its processes, on one listening socket.  (default: 1)", RUN),
]
ReceiveBuffer = Annotated[
    str | None,
    _option(
        "--receive-buffer", "SIZE", "SO_RCVBUF of its sockets: 64kB; no auto-tuning then.", RUN
    ),
]
SendBuffer = Annotated[
    str | None,
    _option("--send-buffer", "SIZE", "SO_SNDBUF of its sockets: 64kB; no auto-tuning then.", RUN),
]
Backlog = Annotated[
    str | None,
    _option("--backlog", "N", "Of its listen(): bounds the accept queue.  (default: 100)", RUN),
]
Http = Annotated[
    str | None,
    _option("--http", "1.1|2", "HTTP's version, and no other.  (default: 1.1)", RUN),
]
Ip = Annotated[
    str | None, _option("--ip", "4|6", "IP's version, of everything.  (default: 4)", RUN)
]
Tls = Annotated[
    bool | None,
    typer.Option(
        "--tls",
        metavar="",
        show_default=False,
        help="TLS, with certificates made for the run, which the clients verify.",
        rich_help_panel=RUN,
    ),
]
CongestionControl = Annotated[
    str | None,
    _option("--congestion-control", "NAME", "TCP's, of every host.  (default: cubic)", RUN),
]
Switches = Annotated[
    str | None,
    _option("--switches", "bridge|ovs", "What each switch is.  (default: bridge)", RUN),
]
LinkBackend = Annotated[
    str | None,
    _option("--link-backend", "auto|kernel|relay", "What emulates the wire.  (default: auto)", RUN),
]
Seed = Annotated[
    str | None, _option("--seed", "N", "Key of all random streams.  (default: drawn)", RUN)
]
Probes = Annotated[
    str | None,
    _option(
        "--probes",
        "all|light|none|NAMES",
        "How much is observed; NAMES with commas: captures, samples, event_loop, asgi, syscall, "
        "tracepoints.  (default: all)",
        RUN,
    ),
]
Expect = Annotated[
    list[str] | None,
    _option(
        "--expect",
        "RULE",
        "What the run is to show, else exit code 1: 'http.failed == 0'; may be repeated.",
        RUN,
    ),
]
TopologyOptions = Annotated[
    list[str] | None,
    _option("--topology-option", "NAME=VALUE", "Option of the topology; may be repeated.", RUN),
]
Users = Annotated[
    str | None, _option("--users", "N", "Concurrent users of each client.  (default: 1)", LOAD)
]
Rate = Annotated[
    str | None,
    _option("--rate", "R/s", "Open loop: start requests at 200/s, or from 10/s..200/s.", LOAD),
]
Arrivals = Annotated[
    str | None,
    _option(
        "--arrivals",
        "HOW",
        "Spacing at --rate: poisson or periodic; or 'trace FILE', a time a line.  "
        "(default: poisson)",
        LOAD,
    ),
]
Requests = Annotated[
    str | None,
    _option("--requests", "N", "Requests of each client in all.  (default: 100)", LOAD),
]
Duration = Annotated[
    str | None, _option("--duration", "TIME", "Start requests for this long: 30s.", LOAD)
]
Method = Annotated[str | None, _option("--method", "NAME", "HTTP method.  (default: GET)", SHAPE)]
UrlPath = Annotated[
    str | None,
    _option("--path", "PATH", "Path and query; {size} stands for --size.  (default: /)", SHAPE),
]
Body = Annotated[
    str | None,
    _option(
        "--body",
        "SIZE",
        "Of each request's body: 64kB, 'uniform 1kB..10kB', 'exponential mean 10kB', "
        "'lognormal median 10kB sigma 1.5'.",
        SHAPE,
    ),
]
Size = Annotated[
    str | None,
    _option("--size", "SIZE", "For {size} in the path, likewise: sizes of downloads.", SHAPE),
]
Mix = Annotated[
    list[str] | None,
    _option(
        "--mix",
        "KINDS",
        "Kinds of requests by weight: '3 GET /, 1 POST /items body 2kB'; may be repeated.",
        SHAPE,
    ),
]
Think = Annotated[
    str | None,
    _option("--think", "TIME", "A user's pause: 100ms, 'exponential mean 100ms'.", LOAD),
]
MaxInFlight = Annotated[
    str | None,
    _option(
        "--max-in-flight",
        "N",
        "Open loop: requests due beyond so many are dropped, and counted.",
        LOAD,
    ),
]
Connections = Annotated[
    str | None,
    _option(
        "--connections",
        "N",
        "Most of each client. Not given: as many as users, in an open loop 100.",
        LOAD,
    ),
]
Processes = Annotated[
    str | None,
    _option("--processes", "N", "Client processes that share a client's load.  (default: 1)", LOAD),
]
Client = Annotated[
    str | None,
    _option("--client", "httpx|httpx2", "Library of the clients.  (default: httpx)", LOAD),
]
Retries = Annotated[
    str | None,
    _option(
        "--retries", "N", "Try requests again that may be, up to N times.  (default: 0)", SHAPE
    ),
]
Backoff = Annotated[
    str | None,
    _option(
        "--backoff",
        "TIME",
        "Before a retry up to this, 100ms if not given, doubled each time, at random.",
        SHAPE,
    ),
]
Cancel = Annotated[
    str | None,
    _option("--cancel", "RULE", "Requests the client gives up: '1% after 50ms'.", SHAPE),
]
Timeout = Annotated[
    str | None,
    _option("--timeout", "TIME", "Limit on each phase of a request.  (default: 30s)", SHAPE),
]
ConnectTimeout = Annotated[
    str | None, _option("--connect-timeout", "TIME", "On connecting, instead.", SHAPE)
]
ReadTimeout = Annotated[
    str | None, _option("--read-timeout", "TIME", "On each wait for data, instead.", SHAPE)
]
WriteTimeout = Annotated[
    str | None, _option("--write-timeout", "TIME", "On each wait to be read, instead.", SHAPE)
]
PoolTimeout = Annotated[
    str | None, _option("--pool-timeout", "TIME", "On the wait for a connection, instead.", SHAPE)
]
TotalTimeout = Annotated[
    str | None,
    _option("--total-timeout", "TIME", "On the whole request, over all attempts.", SHAPE),
]
ReadRate = Annotated[
    str | None,
    _option("--read-rate", "RATE", "Read each connection no faster: 100kbit.", LOAD),
]
WriteRate = Annotated[
    str | None,
    _option("--write-rate", "RATE", "Write to each connection no faster: 100kbit.", LOAD),
]
NewConnections = Annotated[
    bool | None,
    typer.Option(
        "--new-connections",
        metavar="",
        show_default=False,
        help="A new connection for each request, not one that is kept.",
        rich_help_panel=LOAD,
    ),
]
Capacity = Annotated[
    str | None,
    _option(
        "--capacity",
        "RATE",
        "Bits per second, 10mbit; or 'trace NAME' (see `testbed list`), 'trace FILE'.",
        LINK,
    ),
]
Queue = Annotated[
    str | None,
    _option(
        "--queue",
        "LIMIT",
        "Queue before it: 50p, 64kB, or codel, fq_codel, cake, red, pie, fq with settings: "
        "'codel 100p target 5ms ecn'.",
        LINK,
    ),
]
Delay = Annotated[str | None, _option("--delay", "TIME", "One-way delay: 20ms.", LINK)]
DelayVariation = Annotated[
    str | None,
    _option(
        "--delay-variation",
        "TIME",
        "Random, around the delay: 2ms, '2ms normal' (or uniform, pareto, paretonormal, table "
        "FILE), '2ms overtaking'.",
        LINK,
    ),
]
Loss = Annotated[
    str | None,
    _option(
        "--loss",
        "RULE",
        "Packets lost: 1%, 'every 23', 'packets 3,7-9', 'segments 5', "
        "'gilbert-elliott p 1% r 25%', 'markov p13 1% p31 20%'.",
        LINK,
    ),
]
Duplicate = Annotated[
    str | None,
    _option("--duplicate", "RULE", "Packets that come twice: 1%, 'every 23', 'packets 3'.", LINK),
]
Corrupt = Annotated[
    str | None,
    _option("--corrupt", "RULE", "Packets with one bit wrong: 0.1%, 'every 23'.", LINK),
]
Reorder = Annotated[
    str | None,
    _option("--reorder", "RULE", "Packets overtaken by others: 1%, '1% extent 5'.", LINK),
]
Outage = Annotated[
    str | None,
    _option("--outage", "TIMES", "Nothing comes through: 'at 2s for 500ms, at 9s for 1s'.", LINK),
]
Schedule = Annotated[
    list[str] | None,
    _option(
        "--schedule",
        "CHANGE",
        "A change while the load runs: 'at 5s: capacity 2mbit, loss 1%'; may be repeated.",
        SOME,
    ),
]
Forward = Annotated[
    list[str] | None,
    _option(
        "--forward",
        "SETTINGS",
        "First node of a link to its second: 'loss 2%, delay 5ms'; may be repeated.",
        SOME,
    ),
]
Reverse = Annotated[
    list[str] | None,
    _option("--reverse", "SETTINGS", "Second node of a link to its first; may be repeated.", SOME),
]
Links = Annotated[
    list[str] | None,
    _option(
        "--links",
        "LINK: SETTINGS",
        "Of one link by its name, marked or not: 'r1-server: loss 2%', "
        "'r1-server.forward: delay 5ms'; may be repeated.",
        SOME,
    ),
]
Nodes = Annotated[
    list[str] | None,
    _option(
        "--nodes",
        "NODE: SETTINGS",
        "Of a node, or of all of a role: 'server: descriptors 64', "
        "'client: net.ipv4.tcp_rmem 4096 16384 65536'; may be repeated.",
        RUN,
    ),
]
Out = Annotated[
    Path | None,
    _option("--out", "DIR", "Folder of the recording.  (default: runs/UTC_TIME-TOPOLOGY)", OUT),
]
RequestId = Annotated[
    str | None,
    typer.Option(
        "--request",
        metavar="ID",
        show_default=False,
        help="The request with this id; its beginning is enough, or its number.",
    ),
]
Slowest = Annotated[
    int | None,
    typer.Option(
        "--slowest", metavar="N", min=1, show_default=False, help="The N slowest.  (default: 5)"
    ),
]
Failed = Annotated[bool, typer.Option("--failed", metavar="", help="Only requests that failed.")]
Quick = Annotated[bool, typer.Option("--quick", metavar="", help="Less of everything: under 20 s.")]
AsJson = Annotated[
    bool, typer.Option("--json", metavar="", help="Print JSON.", rich_help_panel=OUT)
]
