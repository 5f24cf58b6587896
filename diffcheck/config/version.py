"""The version of diffcheck."""

__version__ = "0.2.0"
