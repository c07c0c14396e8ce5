"""The Kubernetes API server of the local platform."""
