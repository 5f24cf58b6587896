"""Data that outlives a run: the execution cache and the journal of a run that can be resumed."""
