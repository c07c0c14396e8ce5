"""How many files and sockets a process of the platform may have open: each pod and each connection needs some."""

import resource


def raise_limit() -> int:
    """As many as this machine allows us. Returns the former (soft) limit, which other programs expect."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft
