"""Tests of diffcheck: a package, so that they can import the doubles."""
