"""A cluster of processes: runs rendered manifests' commands on one machine, without Kubernetes.

What it shows is that the commands run, with the environment the manifests give them, as another
user on a read-only root, and that exit codes lead where the manifests say. Not that a cluster
admits, places or connects them.
"""
