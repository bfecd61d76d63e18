"""Segments -> tables: one module per source, each table a row type of testbed.events."""
