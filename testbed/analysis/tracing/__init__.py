"""What tracepoints say of a run: whose events they are, ways of packets, wake-ups, figures."""
