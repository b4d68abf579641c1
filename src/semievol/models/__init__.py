"""The base model and its tokenizer: how they are loaded, and how a chat is written for them."""
