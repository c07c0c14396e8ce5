"""Objects in a store of Amazon's, Google's or Azure's kind: written as a stream, listed, read, deleted. Decides nothing.

An object appears when its last byte is there, or not at all: an upload whose source fails is given up.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from howdah.model.backups import Parts, Stored, StoreRequest
from howdah.model.errors import ExternalError

CALL_TIMEOUT = dt.timedelta(seconds=20)
"""Of what moves no data: tried again on a new connection, where a kept one has gone silent."""
LEAST_RETRY_S = 180.0
RETRIED = 1.5
"""Times the timeout: one try that ends by it is followed by another."""
DELETED_AT_ONCE = 500


class Store:
    """One bucket or container. Every call raises ExternalError with what the store said, without credentials."""

    def __init__(self, request: StoreRequest) -> None:
        """Nothing is asked of the store yet; credentials come from the environment where the request has none."""
        self._request = request
        try:
            self._asked = _opened(request, CALL_TIMEOUT)
        except BaseError as error:
            raise _external(error) from error

    def put(self, key: str, chunks: Iterator[bytes], parts: Parts) -> None:
        """Upload what `chunks` yields; what it raises is raised here, and then there is no object."""
        source = _Source(chunks)
        try:
            store = _opened(self._request, dt.timedelta(seconds=parts.timeout_s))
            obstore.put(store, key, iter(source), chunk_size=parts.size_bytes, max_concurrency=parts.at_once)
        except (BaseError, FileNotFoundError) as error:
            # Where giving up fails, too, the library tells that alone.
            raise source.failure or _external(error) from error

    def described(self, key: str) -> Stored | None:
        """None for an object that is not there. Who may only write may not ask."""
        try:
            found = obstore.head(self._asked, key)
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise _external(error) from error
        return Stored(int(found["size"]), found["last_modified"])

    def keys(self, folder: str) -> tuple[str, ...]:
        """Everything below `folder`."""
        try:
            return tuple(item["path"] for page in obstore.list(self._asked, prefix=folder) for item in page)
        except (BaseError, FileNotFoundError) as error:
            raise _external(error) from error

    def delete(self, keys: Iterable[str]) -> None:
        """Objects that are gone already are no failure."""
        wanted = list(keys)
        for start in range(0, len(wanted), DELETED_AT_ONCE):
            try:
                obstore.delete(self._asked, wanted[start : start + DELETED_AT_ONCE])
            except FileNotFoundError:
                continue
            except BaseError as error:
                raise _external(error) from error


class _Source:
    """Remembers what the chunks raised."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except Exception as error:
            self.failure = error
            raise


def _opened(request: StoreRequest, timeout: dt.timedelta) -> ObjectStore:
    client: Any = {"timeout": timeout, "connect_timeout": dt.timedelta(seconds=10)}
    retry: Any = {"max_retries": 8, "retry_timeout": max(dt.timedelta(seconds=LEAST_RETRY_S), timeout * RETRIED)}
    if request.provider == "gcs":
        account: dict[str, Any] = {"service_account": request.key_file} if request.key_file else {}
        return GCSStore(request.container, client_options=client, retry_config=retry, **account)
    if request.provider == "az":
        key: dict[str, Any] = {"account_key": request.account_key} if request.account_key else {}
        return AzureStore(
            request.container, account_name=request.account, client_options=client, retry_config=retry, **key
        )
    options: dict[str, Any] = {"region": request.region or "us-east-1"}
    if request.endpoint:
        endpoint = request.endpoint if "://" in request.endpoint else f"https://{request.endpoint}"
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        client["allow_http"] = endpoint.startswith("http://")
    if request.encryption:
        options["server_side_encryption"] = request.encryption
    return S3Store(request.container, client_options=client, retry_config=retry, **options)


def _external(error: Exception) -> ExternalError:
    """The library adds its own structures below the sentence."""
    said = " ".join(str(error).partition("\n\nDebug source")[0].split())
    return ExternalError("object store", transient=not isinstance(error, FileNotFoundError), message=said)
