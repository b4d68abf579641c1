"""vLLM: a server of the run's own or one that is there, its checks, and the requests that it gets."""
