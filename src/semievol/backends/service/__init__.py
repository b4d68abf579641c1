"""Services that speak the OpenAI API: their client, how they are asked, and what becomes of what they refuse."""
