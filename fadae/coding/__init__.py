"""Byte codes: quantised coefficients, their learned probabilities, and an entropy coder."""
