"""Comparing two observations: divergences and allowances, by pure functions that name no engine."""
