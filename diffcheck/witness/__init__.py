"""Witness's formats, and its criterion for decisions."""
