"""Drivers on one bucket, interleaved request by request: see `python -m tests.simulation --help`."""
