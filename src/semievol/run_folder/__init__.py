"""What lies on disk or at an address: the run folder, its stages, their shards, and the files they are made of."""
