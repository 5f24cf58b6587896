"""A case run under one engine, without a comparison: a record for witness, a snapshot, a survey of imports."""
