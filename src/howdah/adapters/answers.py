"""Answers of services on the web: asked for as they are, read up to a limit."""

from __future__ import annotations

from typing import Any

import aiohttp

from howdah.model.errors import ExternalError

LONGEST_ANSWER_BYTES = 4 * 1024 * 1024
_AS_IT_IS = "identity"


def new_session(**options: Any) -> aiohttp.ClientSession:
    """A session that unpacks nothing: a few hundred bytes could say that they are a gigabyte. `options` are aiohttp's."""
    return aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": _AS_IT_IS}, **options)


async def body_of(system: str, response: aiohttp.ClientResponse, *, longest_bytes: int = LONGEST_ANSWER_BYTES) -> bytes:
    """The whole body. Raises `ExternalError` where it is packed, or longer than any answer that makes sense."""
    packing = response.headers.get("Content-Encoding", _AS_IT_IS)
    if packing.lower() != _AS_IT_IS:
        raise ExternalError(system, transient=False, message="its answer is packed, which nobody asked for")
    found = bytearray()
    async for part in response.content.iter_chunked(65536):
        found += part
        if len(found) > longest_bytes:
            raise ExternalError(system, transient=False, message="its answer is too long")
    return bytes(found)
