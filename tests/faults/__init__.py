"""Faults put into a run on purpose, and what came of each: `make test-faults`."""
