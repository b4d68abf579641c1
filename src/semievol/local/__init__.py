"""The language model that this process holds, and how its passes are computed."""
