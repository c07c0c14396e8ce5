"""What goes back over HTTP: bodies with their headers, and the refusals that are about forms of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from aiohttp import web

from .errors import ApiError
from .kinds import Kind
from .objects import decode, encode
from .requests import BODY_TYPES, YAML, Target
from .writes import Call


def json_response(
    obj: Any, code: int, headers: Mapping[str, str] | list[tuple[str, str]], *, as_yaml: bool = False
) -> web.Response:
    if as_yaml:
        text = yaml.safe_dump(decode(encode(obj)), sort_keys=False)
        return web.Response(text=text, status=code, headers=headers, content_type="application/yaml")
    return web.Response(body=encode(obj), status=code, headers=headers, content_type="application/json")


def warnings_of(call: Call) -> list[tuple[str, str]]:
    return [("Warning", f'299 - "{_quoted(text)}"') for text in call.warnings]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def no_page() -> web.Response:
    return web.Response(status=404, text="404 page not found\n")


def not_acceptable(kind: Kind, target: Target, http: web.BaseRequest) -> ApiError:
    """406 in the words of the part of the real server that refuses."""
    if kind.custom is not None or "as=" in http.headers.get("Accept", ""):
        return refused_media()
    is_list = http.method == "GET" and not target.name
    streams = (f"{form};stream=watch" for form in BODY_TYPES if is_list and form != YAML)
    return refused_form((*BODY_TYPES, *streams))


def refused_media() -> ApiError:
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(BODY_TYPES)}")


def refused_form(offered: Sequence[str]) -> ApiError:
    message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(offered)}"
    return ApiError(406, "NotAcceptable", message, details={})
