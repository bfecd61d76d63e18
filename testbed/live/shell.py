"""Mininet's command line on a built network: relay and servers are up, there is no load."""

from __future__ import annotations

import signal
from pathlib import Path

from testbed.live import observers, workload
from testbed.live.conduct import build_network
from testbed.live.config import LiveConfig
from testbed.live.processes import Processes
from testbed.network.nodes import command_line
from testbed.recording.layout import Layout

_HELP = """\
Nodes: {nodes}. Servers listen on port {port}.
Try:   {client} ping -c 3 {server}      {client} iperf3 -c {server} (after: {server} iperf3 -s -D)
       {client} curl http://{address}:{port}/      help      exit
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
        workload.start_servers(processes, layout, network.plan, config)
        workload.wait_for_servers(processes, lambda: False)
        client = network.plan.with_role("client")[0].name
        server = network.plan.with_role("server")[0].name
        print(
            _HELP.format(
                nodes=", ".join(node.name for node in network.plan.nodes),
                client=client,
                server=server,
                address=network.plan.address(server),
                port=workload.PORT,
            )
        )
        command_line(network.mininet)
