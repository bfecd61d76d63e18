"""Mininet's command line on a built network: relay and servers are up, there is no load."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

from testbed import clock
from testbed.errors import TestbedError
from testbed.live import observers, servers
from testbed.live.conduct import build_network
from testbed.live.config import LiveConfig
from testbed.live.links import LinkControl
from testbed.live.processes import Processes
from testbed.network.carrier import wait_until_up
from testbed.network.nodes import command_line
from testbed.recording.layout import Layout
from testbed.scenario.model import DIRECTIONS, Way
from testbed.units import NS_PER_S

_HELP = """\
Nodes: {nodes}. Servers listen on port {port}.
Try:   {client} ping -c 3 {server}      {client} iperf3 -c {server} (after: {server} iperf3 -s -D)
       {client} curl {url}      help      exit
       change {link}: loss 5%, delay 50ms
"""


def shell(config: LiveConfig) -> None:
    """Gives the terminal to Mininet's command line until its user leaves it.

    Raises:
        TestbedError: the network could not be built, or a server did not start.
    """
    layout = Layout(Path(config.root))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Processes(layout) as processes:
        network = build_network(config.scenario)
        observers.start_relay(processes, layout, network.plan, config.seed, config.relay_cpu)
        authority = servers.certificates(config)
        servers.start_servers(processes, layout, network.plan, config, authority)
        servers.wait_for_servers(processes, network.plan, lambda: False, authority)
        wait_until_up(network.plan)
        client = network.plan.with_role("client")[0].name
        server = network.plan.with_role("server")[0].name
        print(
            _HELP.format(
                nodes=", ".join(node.name for node in network.plan.nodes),
                client=client,
                server=server,
                link=network.plan.links[-1].name,
                port=servers.PORT,
                url=_url(config, network.plan.asked_at(server)),
            )
        )
        links = LinkControl(network, processes, lambda _change: None)
        links.start(clock.monotonic_ns())
        at_a_time = threading.Lock()
        schedule = threading.Thread(target=_follow_schedule, args=(links, at_a_time), daemon=True)
        schedule.start()

        def change(line: str) -> str:
            with at_a_time:
                return _change(links, line)

        command_line(network.mininet, change)


def _url(config: LiveConfig, address: str) -> str:
    """The server's, with the options that curl needs for it."""
    # Nobody but this process has the authority's certificate.
    rest = f"://{servers.authority_of(address)}/"
    if config.scenario.tls:
        return f"--insecure https{rest}"
    return f"--http2-prior-knowledge http{rest}" if config.scenario.http == "2" else f"http{rest}"


def _follow_schedule(links: LinkControl, at_a_time: threading.Lock) -> None:
    """Makes the changes of the schedule, which begins with the command line."""
    while (next_ns := links.next_change_ns) is not None:
        time.sleep(max(0.0, (next_ns - clock.monotonic_ns()) / NS_PER_S))
        try:
            with at_a_time:
                links.make_due_changes()
        except TestbedError as error:
            print(f"*** the schedule ends here: {error}")
            return


def _change(links: LinkControl, line: str) -> str:
    """Carries out ``LINK.forward: SETTING VALUE, ...``; what there is to say about it."""
    place, colon, settings = line.partition(":")
    if not colon:
        return f'*** expected LINK: SETTING VALUE, ... (got "{line.strip()}", without a colon)'
    name, dot, direction = place.strip().rpartition(".")
    if not dot or direction not in DIRECTIONS:
        name, direction = place.strip(), ""
    try:
        made = links.change(name, direction or None, Way.from_text(settings.strip()))
    except TestbedError as error:
        return f"*** {error}"
    return "\n".join(f"{change.link} {change.direction}: {change.text}" for change in made)
