"""What a run will need and do, told before it costs anything."""
