"""Which rows a run sees, in which order, and how they get into memory: NumPy only."""
