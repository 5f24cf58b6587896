"""Evidence of a run: an attestation, the toolchain, and results by requirement."""
