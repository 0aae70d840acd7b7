"""Read, validate, size and hash Kubernetes manifests. No I/O."""
