"""The deterministic form: each result that the specification leaves open is checked and replaced by one value."""
