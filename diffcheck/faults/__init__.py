"""Planting faults: a program is changed before an engine is given it, so that what the engine reports is wrong and whole."""
