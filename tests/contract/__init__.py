"""The contract that every backend fulfils, as tests."""
