"""How faithful the links are on this machine: `testbed calibrate`.

record.py     what is measured and stored
figures.py    arrivals and delays -> numbers (pure)
limits.py     numbers -> what this machine can do, by the verdict's bounds (pure)
beyond.py     what a scenario asks for against that
store.py      where the last calibration lies, and whether it counts here
lab.py        the network that is measured, and its relay and captures
traffic.py    who sends
measure.py    one function for each measurement
__main__.py   the process inside the sandbox that calls them
calibrate.py  the outside: sandboxes, the result, the store
show.py       the result in the terminal
"""
