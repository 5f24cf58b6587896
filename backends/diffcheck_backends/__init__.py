"""Adapters for engines; each is found by its entry point in the group ``diffcheck.backends``, like anyone's."""
