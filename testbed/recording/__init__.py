"""KEEP: what a run leaves on disk, and how it is read again.

DIR/
  manifest.json          what was asked for, what was built, on what machine, what could not be seen
  summary.json           the numbers and the verdict (written by testbed.analysis)
  report.html            the same for people (written by testbed.report)
  commands.sh            the commands that built the network
  segments/*.seg         what the probes copied while the run went on, undecoded
  packets/<node>.pcapng  captures, an interface block each
  events/<layer>.parquet the segments decoded (written by testbed.analysis)
  links/<link>.parquet   the fate of each packet (written by testbed.analysis)
  logs/                  standard output and error of each process
"""
