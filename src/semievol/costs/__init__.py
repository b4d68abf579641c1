"""What services charge: list prices, what was paid, and the budget that stops a run in time."""
