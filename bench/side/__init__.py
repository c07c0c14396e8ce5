"""howdah and the reference operator, side by side on one real control plane. See `docs/performance-kube.md`."""
