"""Realistic values for tests."""
