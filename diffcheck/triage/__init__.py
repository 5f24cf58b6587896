"""From a divergence to an issue: confirm, reduce, localise, write."""
