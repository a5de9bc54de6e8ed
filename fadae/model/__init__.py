"""Models: each file one that meets `contract.Model`; and the codec that makes one usable."""
