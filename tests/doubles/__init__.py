"""Stand-ins for engines."""
