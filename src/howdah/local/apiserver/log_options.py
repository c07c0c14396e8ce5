"""The options of a request for logs, judged as the real server does before it asks a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .errors import FieldError, Subject, bad_request, field_forbidden, invalid, invalid_object
from .objects import parsed_time
from .requests import number

_SUBJECT = Subject("", "pods", "PodLogOptions")


def check(query: Mapping[str, str], pod: str) -> None:
    """400 for an option that does not parse, 422 with every one out of its range."""
    errors = list(_errors(query))
    if errors:
        raise invalid_object(_SUBJECT, pod, errors)


def _errors(query: Mapping[str, str]) -> Iterator[FieldError]:
    tail, limit, since_s = (number(query, name) for name in ("tailLines", "limitBytes", "sinceSeconds"))
    moment = query.get("sinceTime")
    if moment:
        _check_time(moment)
    if tail is not None and tail < 0:
        yield invalid("tailLines", tail, "must be greater than or equal to 0")
    if limit is not None and limit < 1:
        yield invalid("limitBytes", limit, "must be greater than 0")
    if since_s is not None and moment:
        yield field_forbidden("[]", "at most one of `sinceTime` or `sinceSeconds` may be specified")
    elif since_s is not None and since_s < 1:
        yield invalid("sinceSeconds", since_s, "must be greater than 0")


def _check_time(text: str) -> None:
    try:
        parsed_time(text)
    except ValueError as error:
        raise bad_request(f'parsing time "{text}": {error}') from error
