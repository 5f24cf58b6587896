"""Planted faults: a program is changed before an engine runs it, so that the engine's report is complete but wrong."""
