"""Drivers on one bucket, interleaved request by request: `python -m tests.simulation --help`."""
