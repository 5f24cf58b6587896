"""Since which build an engine has a fault."""
