"""The testbed held against theory, by tools that are not its own: iperf3 and ping.

- `mathis`: what TCP Reno gets out of a lossy path (Mathis and others 1997; Padhye and others 1998).
- `drop_tail`: how long a packet can wait at a drop-tail bottleneck.

`python -m benchmarks.theory` measures and prints a table.
"""
