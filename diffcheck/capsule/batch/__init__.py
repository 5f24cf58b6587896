"""Batches: several ranges of a capsule's rows in one execution."""
