"""Do I/O, decide nothing."""
