"""From a divergence to the instruction that went wrong: instrumentation that any engine can run."""
