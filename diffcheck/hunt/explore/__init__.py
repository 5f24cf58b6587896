"""Rows and stdin that make an artifact do more, found by its counters and decisions under the oracle."""
