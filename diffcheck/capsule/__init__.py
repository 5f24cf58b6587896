"""The artifact made self-contained: imports closed (seal), rows called (driver), everything observable recorded (recorder)."""
