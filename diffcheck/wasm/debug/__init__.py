"""Debug information of a module: names and source lines."""
