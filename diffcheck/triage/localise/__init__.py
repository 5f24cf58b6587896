"""Localises the first event that differs, and the instruction that caused it."""
