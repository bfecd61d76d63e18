"""The process inside the sandbox: every live stage, in one line.

network -> server, load -> probes -> recording

config.py     what it is told
conduct.py    the line itself
processes.py  starts processes in nodes, watches them, ends them
privileges.py what the server and the clients may do: nothing
observers.py  relay, sampler and captures
descriptors.py   how many descriptors processes may have
waiting.py    for one of several descriptors
applications.py  what server and client processes have in common
servers.py    the application under test
clients.py    the load
certificates.py  of a run with TLS
drain.py      when the network has become quiet
machine.py    facts of this machine for the manifest
shell.py      Mininet's command line instead of a load
"""
