"""The deterministic form: each result that the specification leaves open is checked and made one value."""
