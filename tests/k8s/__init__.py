"""The manifests of k8s/: rendered, checked, and their commands run."""
