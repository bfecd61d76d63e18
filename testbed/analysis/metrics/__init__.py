"""Metrics: pure functions, one module each, named after what they measure."""
