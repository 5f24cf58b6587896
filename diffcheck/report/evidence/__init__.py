"""Evidence of a run: an attestation, and results by requirement."""
