"""howdah and the reference operator, side by side on one real control plane with simulated pods. See `docs/performance-kube.md`."""
