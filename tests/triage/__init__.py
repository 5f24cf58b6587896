"""Tests of triage: typing by inserting, instrumentation, localising."""
