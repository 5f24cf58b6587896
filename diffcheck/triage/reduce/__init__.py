"""Rows and modules made smaller while the symptom stays."""
