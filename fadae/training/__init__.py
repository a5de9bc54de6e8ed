"""Training: one trainer for any number of ranks, resumable to the bit, and its launchers."""
