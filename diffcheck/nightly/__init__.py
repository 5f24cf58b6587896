"""Data across runs: the baseline, the history, timings, merged shards, compared runs."""
