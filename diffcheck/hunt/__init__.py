"""The hunt: generated programs under both engines, and the finds, one for each cause."""
