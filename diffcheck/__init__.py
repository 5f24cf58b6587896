"""Differential cross-check of WebAssembly engines over witness-instrumented artifacts."""

__version__ = "0.1.0"
