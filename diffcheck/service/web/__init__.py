"""The web process: the API and the dashboard."""
