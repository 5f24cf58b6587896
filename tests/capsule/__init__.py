"""The capsule: sealing, the recorder, the stubs."""
