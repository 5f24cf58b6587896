"""Tools for witness: records and snapshots of runs, artifacts without imports, and a survey of imports."""
