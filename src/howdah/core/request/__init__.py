"""The parts of `resolve`: each decides one section of the resolved request."""
