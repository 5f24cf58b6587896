"""Programs with the same meaning: every instruction is replaced by others where that is possible."""
