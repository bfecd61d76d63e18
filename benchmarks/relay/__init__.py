"""Side by side: our relay, a bare relay in C, wirefilter and a veth pair.

__main__.py  the command: compiles, starts the lab in a sandbox, prints what it measured
lab.py       in the sandbox: rounds of subjects, one after the other
subjects.py  what is measured, and how each is started
ends.py      two nodes with an interface each
traffic.py   delay probes, TCP, floods of frames
results.py   medians and ratios   (pure)
table.py     the table            (pure)
*.c          the bare relay and the flood
"""
