"""Nouns and parsing: the manifest, the operator configuration, names, units. No I/O."""
