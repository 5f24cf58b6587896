"""Tests of `diffcheck.wasm`."""
