"""What lies on disk or at an address: the run folder, its stages, their shards, and the files they are made of."""

STAGES = ("warmup", "collaborate", "justify", "select", "evolve", "evaluate")
"""The stages of the method in their order; the names of their folders."""
