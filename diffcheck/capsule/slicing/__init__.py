"""Slices: a module with the bodies of some functions only, and marks that show which functions are entered."""
