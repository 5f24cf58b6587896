"""The command line: one file a command, each a thin door that parses, calls and renders."""
