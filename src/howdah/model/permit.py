"""Leave to write, which may end while something is on its way."""

from collections.abc import Callable

Permit = Callable[[], None]
"""Asked right before something is sent: returns while it may be, and raises where not any more."""
