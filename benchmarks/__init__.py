"""Measurements whose figures stand in the README and in `docs/`; each can be repeated."""
