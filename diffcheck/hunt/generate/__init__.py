"""Typed, valid, terminating programs from a seed: one module for each feature."""
