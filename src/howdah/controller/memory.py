"""The process's memory: what stays is not looked at again and again, and what was freed goes back to the machine."""

from __future__ import annotations

import ctypes
import gc
from asyncio.sslproto import SSLProtocol

GIVE_BACK_EVERY_S = 300.0
TLS_BUFFER_BYTES = 64 * 1024
_LIBRARY = ctypes.CDLL(None)


def prepare() -> None:
    """Before the first connection: asyncio gives each TLS connection 256 KiB to read into, and a record has 16 at most.

    A watch is a connection, and a wave of clusters has up to 64 more, which cost 10 MiB with this and 22 without.
    asyncio has no option for it, only this attribute of its class.
    """
    SSLProtocol.max_size = TLS_BUFFER_BYTES


def settle() -> None:
    """What the caches hold stays: half of a start's time is cyclic garbage collection otherwise.

    Those of an operator whose configuration is over go: it is a cycle, which was among what stays until now.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    give_back()


def give_back() -> None:
    """Lists and events come in large pieces between objects that stay; glibc keeps what they leave. Milliseconds.

    See malloc_trim(3). Where the C library has none, nothing is done.
    """
    if (trim := getattr(_LIBRARY, "malloc_trim", None)) is not None:
        trim(0)
