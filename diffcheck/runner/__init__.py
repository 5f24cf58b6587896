"""From cases to verdicts, as a stream of events; it does not know that reports exist."""
