"""Capsules: self-contained artifacts with closed imports (seal), called rows (driver) and recorded observations (recorder)."""
