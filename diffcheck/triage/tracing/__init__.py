"""Instruments an artifact to log its events, and reads the log."""
