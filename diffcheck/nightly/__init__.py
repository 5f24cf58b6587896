"""From night to night: the baseline, the history, timings, shards merged, runs compared."""
