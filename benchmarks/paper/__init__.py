"""The paper's experiments with a model of 135M parameters on a CPU."""
