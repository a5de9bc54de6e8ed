"""A job on Kubernetes: its manifests from one settings file, and the order of its stages."""

from fadae.kubernetes.api import Api
from fadae.kubernetes.conduct import STAGES_FILE, conduct
from fadae.kubernetes.manifests import OWN, Wanted, manifests, read_settings

__all__ = ["OWN", "STAGES_FILE", "Api", "Wanted", "conduct", "manifests", "read_settings"]
