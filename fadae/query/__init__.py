"""What people ask of a workspace: its recordings, and slices of them by time and band."""
