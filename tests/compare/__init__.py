"""Comparing, and finding where two streams differ."""
