"""Answers of services on the web, read up to a limit."""

from __future__ import annotations

import aiohttp

from howdah.model.errors import ExternalError

LONGEST_ANSWER_BYTES = 4 * 1024 * 1024


async def body_of(system: str, response: aiohttp.ClientResponse) -> bytes:
    """The whole body. Raises `ExternalError` where it is longer than any answer that makes sense."""
    found = bytearray()
    async for part in response.content.iter_chunked(65536):
        found += part
        if len(found) > LONGEST_ANSWER_BYTES:
            raise ExternalError(system, transient=False, message="its answer is too long")
    return bytes(found)
