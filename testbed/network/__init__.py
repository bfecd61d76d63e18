"""BUILD: from a Mininet `Topo` and a scenario to nodes and shaped links with a wire in each.

topology.py  finds and calls the Topo            (names, files, errors of the user's code)
plan.py      what will be built                  (pure: roles, links, settings in base units)
addressing.py  addresses, routes, neighbours     (pure)
shaping.py   the tc commands of a direction      (pure)
queues.py    the queue below HTB                 (pure)
netem.py     the settings of netem               (pure)
tools.py     runs ip, tc, ethtool, sysctl        (raises; keeps commands.sh)
build.py     builds the plan and reads it back
nodes.py     Mininet's nodes over what was built
kernel_wire.py  the wire by netem in the middle of veth pairs
counters.py  counters of an interface in its node
live.py      changes both while the load runs
relay/       the wire by a process between TAP devices
"""
