"""For witness: records and snapshots of any backend's run, artifacts without imports, and what imports are given."""
