"""The command line: one file per command, each of which only parses, calls and renders."""
