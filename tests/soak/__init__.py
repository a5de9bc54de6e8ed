"""All commands at once on a real S3 server behind faults, their processes killed: `make soak`."""
