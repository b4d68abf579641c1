"""The experiment on trusted pseudo-labels: seven tasks, and a table of what was measured anywhere."""
