"""Reduces rows and modules while they show the symptom."""
