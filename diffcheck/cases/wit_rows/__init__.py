"""Rows of components in WIT values, lowered to functions of the core module that call the component's exports."""
