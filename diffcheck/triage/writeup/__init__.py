"""A divergence as plain commands, an issue and a case for the corpus."""
