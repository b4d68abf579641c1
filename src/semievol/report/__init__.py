"""What a run came to, for a person: a table, a page and a model card."""
