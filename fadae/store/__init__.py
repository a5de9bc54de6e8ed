"""The workspace on disk or in a bucket: paths, staging, growing Zarr groups, plans."""
