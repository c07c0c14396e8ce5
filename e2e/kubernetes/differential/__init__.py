"""The embedded API server held against the real one: the same requests to both, the answers compared."""
