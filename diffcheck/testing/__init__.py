"""For tests of others: the contract of an engine adapter as a test suite, and a pytest plugin (docs/backends.md, docs/api.md)."""
