"""JUDGE: pure functions; a recording in, numbers out.

Needs no privilege, no network and no live stage.
"""
