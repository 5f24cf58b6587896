"""An artifact instrumented to log its events, and the log read."""
