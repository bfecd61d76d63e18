"""Private namespaces, re-execution, cleanup.

`launcher.start` runs a command in a sandbox; `python -m testbed.sandbox` is the process that makes
it:

    launcher (outside)  ->  testbed.sandbox (unshares, waits)  ->  init, PID 1  ->  the command, PID
    2
         holds the lifeline's end ..................................... watches it
"""
