"""The six stages of the method, one file each."""
