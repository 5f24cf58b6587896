"""The first build of an engine with a fault."""
