"""Tests for other projects: the contract of adapters as a test suite, and a pytest plugin (docs/backends.md, docs/api.md)."""
