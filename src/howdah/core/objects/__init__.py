"""Cluster → Kubernetes objects as plain dicts, one kind a file. Builders have no defaults and cannot fail."""
