"""The table of several engines on the same cases."""
