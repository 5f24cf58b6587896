"""The first event that differs, and the instruction behind it."""
