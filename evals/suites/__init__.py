"""Suites: named sets of benchmarks with their protocol."""
