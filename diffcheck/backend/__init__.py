"""The contract of an engine's adapter, what command-line engines share, and the registry."""
