"""Rule: a network is built as planned, and `commands.sh` builds the same one; its nodes answer
Mininet's ways of asking."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from testbed.network import open_vswitch
from tests.support import kernel_features
from tests.support.sandboxes import in_sandbox

TOPOLOGY = '''
from mininet.topo import Topo


class Mixed(Topo):
    """Hosts behind switches and a router: veth, TAP and bridge ports, shaped and not."""

    def build(self):
        for name in ("s1", "s2"):
            self.addSwitch(name)
        self.addNode("r1", role="router")
        shaped = {"capacity": "10mbit", "queue": "50p"}
        for number in (1, 2, 3):
            self.addHost(f"h{number}")
            self.addLink(f"h{number}", "s1", reverse=shaped)
        self.addHost("far")
        self.addLink("s1", "r1", delay="1ms")
        self.addLink("r1", "s2", forward={"capacity": "5mbit", "queue": "30kB"})
        self.addLink("s2", "far")
'''
SHOW = """
PATH=$PATH:/usr/sbin:/sbin
for node in $(ls /run/netns | sort); do
    echo "== $node"
    ip -n $node -br link show | grep -v ^lo | sed 's/@if[0-9]*//' | sort
    ip -n $node -br addr show | sed 's/@if[0-9]*//' | sort
    ip -n $node route show | sort
    ip -n $node neigh show | sort
    tc -n $node qdisc show | sed 's/refcnt [0-9]*//' | sort
    for device in $(ip netns exec $node ls /sys/class/net | sort); do
        tc -n $node class show dev $device | sort
        ip netns exec $node ethtool -k $device | grep -E '^(tcp-seg|generic|tx-checksumming)'
        ip -n $node -d link show dev $device | grep -oE 'qlen [0-9]+|master [a-z0-9-]+'
    done
    for name in net.ipv4.ip_forward net.ipv4.conf.all.rp_filter net.ipv6.conf.all.disable_ipv6 \\
        net.ipv6.conf.default.disable_ipv6 net.ipv4.tcp_ecn; do
        echo "$name $(ip netns exec $node sysctl -n $name)"
    done
done
"""
BUILD = """
import subprocess, sys
from pathlib import Path
from testbed.live.conduct import build_network
from testbed.scenario import Scenario

network = build_network(Scenario(topology=sys.argv[1], link_backend="relay"))
Path(sys.argv[2]).write_text(network.toolbox.script())
"""


@pytest.fixture
def target(tmp_path: Path) -> str:
    (tmp_path / "mixed.py").write_text(TOPOLOGY)
    return f"{tmp_path}/mixed.py:Mixed"


def test_commands_sh_builds_the_same_network(target: str, tmp_path: Path) -> None:
    script = tmp_path / "commands.sh"
    show = ["sh", "-ec", SHOW]
    built = in_sandbox(
        [sys.executable, "-c", BUILD + f"subprocess.run({show!r}, check=True)", target, str(script)]
    )
    assert built.returncode == 0, built.stderr
    repeated = in_sandbox(["sh", "-ec", f"PATH=$PATH:/sbin sh {script} > /dev/null\n{SHOW}"])
    assert repeated.returncode == 0, repeated.stderr
    assert built.stdout.splitlines() == repeated.stdout.splitlines()
    names = [line[3:] for line in built.stdout.splitlines() if line.startswith("== ")]
    assert names == ["far", "h1", "h2", "h3", "r1", "s1", "s2"]
    # What is compared is not empty: a class for each capacity, a queue for each interface ...
    assert built.stdout.count("class htb 1:10 ") == 4
    assert built.stdout.count("congctl") == 4 * 2 + 2
    assert built.stdout.count("PERMANENT") == 4 * 3 + 2
    assert built.stdout.count("generic-segmentation-offload: off") == 12
    assert built.stdout.count("qlen 10000") == 2


ASK = """
network = build_network(Scenario(topology=sys.argv[1], link_backend="relay"))
net = network.mininet


def shells():
    lines = [one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline")]
    return [line for line in lines if line.startswith(b"bash") and b"mininet:" in line]


print(len(shells()))
print(net["h1"].cmd("ip -br addr show dev h1-eth0").split()[-1])
print(len(shells()))
print(net["h1"].cmd("echo again").strip(), net.get("h2").IP(), net["h1"].intf().MAC())
print(sorted(net["h1"].cmd("ls /sys/class/net").split()))
popen = net["h2"].popen(["ip", "-br", "addr", "show", "dev", "h2-eth0"])
print(popen.communicate()[0].decode().split()[-1])
print(net.ping([net["h1"], net["h2"], net["h3"]], timeout="1"))
print(len(shells()))
net["h1"].terminate()
net["far"].terminate()
print(len(shells()), net["far"].waiting)
"""


def test_a_nodes_shell_starts_when_it_is_first_asked(target: str, tmp_path: Path) -> None:
    program = BUILD.partition("network =")[0] + ASK
    done = in_sandbox([sys.executable, "-c", program, target, "-"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "0",
        "10.0.0.1/24",
        "1",
        "again 10.0.0.2 02:00:00:00:01:01",
        "['h1-eth0', 'lo']",
        "10.0.0.2/24",
        "0.0",  # percent of the pings lost
        "3",
        "2 False",
    ]


def test_whether_the_kernel_has_the_datapath_of_open_vswitch() -> None:
    # genl(8) asks the kernel in its own way.
    assert open_vswitch.has_datapath() == (kernel_features.OPEN_VSWITCH in kernel_features.found())


REFUSALS = """
from testbed.errors import TestbedError
from testbed.network import offloads, sysctls
from testbed.network.tools import Toolbox

for ask in (
    lambda: offloads.switch_off(Toolbox(), ["lo"], names=["tx"]),
    lambda: offloads.switch_off(Toolbox(), ["gone"]),
    lambda: sysctls.write(Toolbox(), {"net.ipv4.no_such_thing": "1"}, node="h1"),
    lambda: sysctls.write(Toolbox(), {"net.ipv4.tcp_ecn": "many"}),
    lambda: sysctls.read_back({"net.ipv4.ip_forward": "1"}, node="h1"),
):
    try:
        print("did", ask())
    except TestbedError as error:
        print(f"{type(error).__name__} {error.where}: {error}")
"""


def test_what_the_kernel_does_not_do_is_said() -> None:
    done = in_sandbox([sys.executable, "-c", REFUSALS])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        # The loopback device has this feature fixed.
        "ReadBackError lo: lo: tx-checksumming was set to off and reads back as on",
        "RunError gone: gone: its offloads cannot be set: [Errno 19] No such device",
        "RunError h1: h1: sysctl net.ipv4.no_such_thing cannot be set to 1: [Errno 2] No such file "
        "or directory: '/proc/sys/net/ipv4/no_such_thing'",
        "RunError sandbox: sysctl net.ipv4.tcp_ecn cannot be set to many: [Errno 22] Invalid "
        "argument",
        "ReadBackError h1: h1: net.ipv4.ip_forward was set to 1 and reads back as 0",
    ]
