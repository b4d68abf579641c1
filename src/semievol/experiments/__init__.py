"""The paper's tables and figures, and a comparison on the user's own data, as grids over the pipeline."""
