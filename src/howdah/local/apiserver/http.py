"""HTTP: from a request to the function that answers it, and back. Who asks, what for, in which form."""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from . import discovery, lists, log_options, scale, subresources
from .answers import json_response, no_page, not_acceptable, refused_form, refused_media, warnings_of
from .auth import Tokens, User, certificate_user
from .consequences import follow
from .deletes import DeleteOptions, delete, options_from, status_of_removal
from .errors import (
    ApiError,
    Subject,
    bad_request,
    field_forbidden,
    forbidden,
    invalid_object,
    method_not_allowed,
    method_not_supported,
    not_found,
    required,
    resource_not_found,
    unauthorized,
    unsupported_media_type,
)
from .kinds import Kind
from .objects import Obj, decode
from .patches import APPLY, MERGE, STRATEGIC, check_patch_type, patcher
from .proxy import Node, container_of
from .requests import (
    BODY_TYPES,
    Answer,
    Target,
    flag,
    from_yaml,
    is_dry_run,
    manager_of,
    number,
    parsed_body,
    repeated_fields,
    takes_text,
    target_of,
    validation_of,
    wanted_answer,
)
from .selectors import parse_selector
from .table import scale_table, table_of
from .watch import TooSlowError, Wanted, error_line, lines
from .writes import Call, State, apply, change, create, is_shown_as_stored, live_object, replace, shown

log = logging.getLogger(__name__)

BODY_MAX_BYTES = 3 * 1024 * 1024
WATCH_MIN_S = 1800
OPEN_PATHS = ("/version", "/healthz", "/readyz", "/livez")
PATHS = ("/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version")
_HEALTH = ("/healthz", "/readyz", "/livez")
_ENDPOINTS_DEPRECATED = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
_PATCH_OPTIONS = Subject("meta.k8s.io", "patchoptions", "PatchOptions")
_PODS = Subject("", "pods", "Pod")
_STREAMS = ("exec", "attach", "portforward")


@dataclass(slots=True)
class Request:
    """A request for a served resource, understood."""

    http: web.BaseRequest
    kind: Kind
    target: Target
    answer: Answer
    user: User
    call: Call


class Api:
    """Answers every request; owns nothing but references."""

    def __init__(self, state: State, tokens: Tokens, node: Node, address: str) -> None:
        self._state = state
        self._tokens = tokens
        self._node = node
        self._address = address

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """The one entry of the HTTP server."""
        try:
            return await self._answer(http)
        except ApiError as error:
            return json_response(error.body, error.code, error.headers)
        except (ConnectionError, web.HTTPException):
            raise
        except Exception:  # the one place: a bug answers 500 and stops nobody else
            log.exception("%s %s failed", http.method, http.path)
            bug = ApiError(500, "InternalError", "Internal error occurred: see the log of the API server", details={})
            return json_response(bug.body, 500, {})

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        path = http.path.rstrip("/") or "/"
        user = self._user(http)
        _check_not_impersonating(http)
        if user is None and not path.startswith(OPEN_PATHS):
            raise unauthorized()
        target = target_of(http.path)
        if target is None:
            return self._non_resource(http, path)
        kind = self._state.registry.find(target.group, target.version, target.plural)
        if kind is None or (target.subresource and target.subresource not in kind.subresources):
            if kind is not None and kind.custom is not None:
                raise not_found(kind.subject, target.name)
            if not self._state.registry.is_builtin_group(target.group):
                return no_page()
            raise resource_not_found()
        if (
            kind.custom is not None
            and kind.namespaced
            and not target.namespace
            and (target.name or http.method != "GET")
        ):
            return no_page()
        if kind.namespaced and not target.namespace and (target.name or http.method == "POST"):
            raise resource_not_found() if target.name else method_not_allowed()
        answer = wanted_answer(http.headers.get("Accept", ""))
        if answer is None and target.subresource not in (*_STREAMS, "log"):
            raise not_acceptable(kind, target, http)
        warnings = [_ENDPOINTS_DEPRECATED] if kind.storage == "endpoints" else []
        call = Call(
            kind,
            target.namespace if kind.namespaced else "",
            target.name,
            target.subresource,
            manager_of(http),
            is_dry_run(http.query, http.method),
            validation_of(http.query, http.method),
            warnings,
        )
        request = Request(http, kind, target, answer or Answer(), user or User("system:anonymous"), call)
        try:
            return await self._resource(request)
        except ApiError as error:  # a refusal carries the warnings too
            return json_response(error.body, error.code, [*error.headers.items(), *warnings_of(call)])

    def _user(self, http: web.BaseRequest) -> User | None:
        token = http.headers.get("Authorization", "")
        if token.startswith("Bearer "):
            return self._tokens.user(token.removeprefix("Bearer ").strip(), self._state.store)
        transport = http.transport
        return certificate_user(transport.get_extra_info("peercert") if transport else None)

    def _non_resource(self, http: web.BaseRequest, path: str) -> web.Response:
        registry = self._state.registry
        if path.startswith(_HEALTH):
            return web.Response(text="ok")
        if path == "/openapi/v2":
            return web.Response(body=b"", headers={"Content-Type": discovery.OPENAPI_V2})
        if path.startswith("/openapi/v3/"):
            text = discovery.openapi_document(registry, path.removeprefix("/openapi/v3/"))
            if text is not None:
                return web.Response(body=text, content_type="application/json")
        found = self._discovered(path.strip("/").split("/"))
        if found is not None and wanted_answer(http.headers.get("Accept", "")) is None:
            raise refused_form(BODY_TYPES) if found.get("kind") == "APIResourceList" else refused_media()
        if found is not None:
            return json_response(found, 200, {})
        parts = path.split("/")
        if parts[1:3] == ["api", "v1"] or (
            len(parts) > 3 and parts[1] == "apis" and registry.is_builtin_group(parts[2])
        ):
            raise resource_not_found()
        return no_page()

    def _discovered(self, parts: list[str]) -> Obj | None:
        registry = self._state.registry
        match parts:
            case ["version"]:
                return discovery.VERSION
            case ["api"]:
                return discovery.core_versions(self._address)
            case ["apis"]:
                return discovery.group_list(registry)
            case ["api", version]:
                return discovery.resource_list(registry, "", version)
            case ["apis", group]:
                return discovery.group(registry, group)
            case ["apis", group, version]:
                return discovery.resource_list(registry, group, version)
            case ["openapi", "v3"]:
                return discovery.openapi_index(registry)
            case [""]:
                return {"paths": list(PATHS)}
        return None

    async def _resource(self, request: Request) -> web.StreamResponse:
        verb = _verb(request)
        if request.target.subresource and request.target.subresource != "status":
            if _DONE_BY.get(request.http.method, "") not in discovery.verbs_of(request.target.subresource):
                raise _not_allowed(request)
            special = _SUBRESOURCES.get(request.target.subresource)
            if special is not None:
                return await special(self, request)
        elif verb not in request.kind.verbs or _is_impossible(request, verb):
            if request.kind.custom is not None and not request.target.name and request.http.method in ("PUT", "PATCH"):
                raise bad_request("name must be provided")
            raise _not_allowed(request)
        handler = _VERBS.get(verb)
        if handler is None:
            raise method_not_allowed()
        return await handler(self, request)

    async def _body(self, request: Request) -> Any:
        content = request.http.headers.get("Content-Type", "")
        if "patch" in content or content.startswith("text/"):
            raise unsupported_media_type(BODY_TYPES)
        data = await self._raw_body(request)
        body = parsed_body(data, content)
        if request.call.validation != "Ignore":
            request.call.repeated = repeated_fields(data, content)
        return body

    async def _raw_body(self, request: Request) -> bytes:
        chunks, size = [], 0
        async for chunk in request.http.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > BODY_MAX_BYTES:
                message = f"Request entity too large: limit is {BODY_MAX_BYTES}"
                raise ApiError(413, "RequestEntityTooLarge", message)
        return b"".join(chunks)

    async def _done(self, request: Request, obj: Obj, code: int = 200) -> web.Response:
        """Answers with an object once everything it shows is on disk."""
        if not request.call.dry_run and request.http.method != "GET":
            follow(self._state, request.kind, request.call.namespace)
        await self._state.store.durable()
        form = request.answer.form if obj.get("kind") != "Status" else ""
        if form == "Table":
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            table = scale_table if obj.get("kind") == "Scale" else table_of
            include = request.http.query.get("includeObject", "")
            obj = table(request.kind, [obj], metadata, request.answer.api_version, include)
        elif form.startswith("PartialObjectMetadata"):
            obj = lists.partial(obj, request.answer.api_version)
        return json_response(obj, code, warnings_of(request.call), as_yaml=request.answer.yaml)

    async def get(self, request: Request) -> web.StreamResponse:
        lists.version_number(request.http.query.get("resourceVersion", ""))
        return await self._done(request, live_object(self._state, request.call))

    async def list(self, request: Request) -> web.StreamResponse:
        kind, call, query = request.kind, request.call, request.http.query
        number(query, "timeoutSeconds")
        selector = parse_selector(kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        found = lists.page(self._state.store, kind, call.namespace, selector, query)
        await self._state.store.durable()
        form, version = request.answer.form, request.answer.api_version
        if form == "Table":
            objects = [shown(kind, record.obj()) for record in found.records]
            answer = table_of(kind, objects, found.meta(), version, query.get("includeObject", ""))
        elif form:
            answer = lists.partial_list(found, version)
        elif request.answer.yaml:
            answer = decode(lists.list_text(kind, found))
        else:
            text = lists.list_text(kind, found)
            return web.Response(body=text, headers=warnings_of(call), content_type="application/json")
        return json_response(answer, 200, warnings_of(call), as_yaml=request.answer.yaml)

    async def watch(self, request: Request) -> web.StreamResponse:
        wanted = self._wanted(request)
        store, resource = self._state.store, request.kind.storage
        response = web.StreamResponse(headers=[("Content-Type", "application/json"), *warnings_of(request.call)])
        response.enable_chunked_encoding()
        await response.prepare(request.http)
        what = f"{request.http.path} by {request.user.name} with {request.call.manager}"
        log.info("watch begins: %s", what)
        try:
            async with contextlib.aclosing(lines(store, resource, wanted)) as stream:
                async for chunk in stream:
                    await response.write(chunk)
        except ApiError as error:  # too old: said inside the stream, as clients expect it
            log.info("watch answered %d: %s", error.code, what)
            await response.write(error_line(error))
        except TooSlowError:
            log.info("watch too far behind: %s", what)
        except ConnectionError:
            return response
        finally:
            log.info("watch ends: %s", what)
        await response.write_eof()
        return response

    def _wanted(self, request: Request) -> Wanted:
        kind, query = request.kind, request.http.query
        selector = parse_selector(kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        lists.check_options(query, watching=True)
        initial = query.get("sendInitialEvents")
        version = lists.version_number(query.get("resourceVersion", ""))
        since: int | None = version or None
        if initial is not None:
            since = None if flag(query, "sendInitialEvents") else version or self._state.store.published
        timeout_s = number(query, "timeoutSeconds") or random.randint(WATCH_MIN_S, 2 * WATCH_MIN_S)
        return Wanted(
            namespace=request.call.namespace,
            selector=selector,
            since=since,
            show=_shower(kind, request.answer),
            bookmark={"kind": kind.kind, "apiVersion": kind.api_version},
            bookmarks=flag(query, "allowWatchBookmarks"),
            end_of_initial=flag(query, "sendInitialEvents") and flag(query, "allowWatchBookmarks"),
            timeout_s=float(timeout_s),
        )

    async def create(self, request: Request) -> web.StreamResponse:
        body = await self._body(request)
        if "watch" not in request.kind.verbs:
            found = subresources.review(request.kind.kind, body, request.user, self._tokens, self._state.store)
            return json_response(found, 201, {})
        return await self._done(request, create(self._state, request.call, body), 201)

    async def update(self, request: Request) -> web.StreamResponse:
        obj, made = replace(self._state, request.call, await self._body(request))
        return await self._done(request, obj, 201 if made else 200)

    async def patch(self, request: Request) -> web.StreamResponse:
        content = request.http.headers.get("Content-Type", "").partition(";")[0].strip()
        data = await self._raw_body(request)
        if content != APPLY and "force" in request.http.query:
            error = field_forbidden("force", "may not be specified for non-apply patch")
            raise invalid_object(_PATCH_OPTIONS, "", [error])
        if content == APPLY:
            if not request.http.query.get("fieldManager"):
                raise _manager_required()
            obj, made = apply(self._state, request.call, from_yaml(data), force=flag(request.http.query, "force"))
            return await self._done(request, obj, 201 if made else 200)
        check_patch_type(request.kind, content)
        patched = patcher(request.kind, content, parsed_body(data, content))
        return await self._done(request, change(self._state, request.call, patched))

    async def delete(self, request: Request) -> web.StreamResponse:
        options = await self._delete_options(request)
        obj, gone = delete(self._state, request.call, options)
        return await self._done(request, status_of_removal(request.kind, obj) if gone else obj)

    async def _delete_options(self, request: Request) -> DeleteOptions:
        """From the body or from the query; a body is all that counts, also for `dryRun`."""
        body = await self._body(request)
        if body is None:
            return options_from(None, dict(request.http.query))
        request.call.dry_run = False
        _dry_run_of(request.call, body)
        return options_from(body, {})

    async def deletecollection(self, request: Request) -> web.StreamResponse:
        kind, query, options = request.kind, request.http.query, await self._delete_options(request)
        selector = parse_selector(kind, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        found = lists.page(self._state.store, kind, request.call.namespace, selector, {})
        names = [record.name for record in found.records]
        subresources.delete_all(self._state, request.call, names, options)
        page = lists.Page(found.records, self._state.store.version)
        follow(self._state, kind, request.call.namespace)
        await self._state.store.durable()
        text = lists.list_text(kind, page)
        return web.Response(body=text, headers=warnings_of(request.call), content_type="application/json")

    async def scale(self, request: Request) -> web.StreamResponse:
        state, call = self._state, request.call
        if request.http.method == "GET":
            return await self._done(request, scale.read(state, call))
        if request.http.method == "PUT":
            return await self._done(request, scale.write(state, call, await self._body(request)))
        content = request.http.headers.get("Content-Type", "").partition(";")[0].strip()
        if content == APPLY:
            if not request.http.query.get("fieldManager"):
                raise _manager_required()
            config = from_yaml(await self._raw_body(request))
            found = scale.apply(state, call, config, force=flag(request.http.query, "force"))
            return await self._done(request, found)
        check_patch_type(request.kind, content)
        patch = parsed_body(await self._raw_body(request), content)
        patched = patcher(request.kind, MERGE if content == STRATEGIC else content, patch)
        return await self._done(request, scale.change(state, call, patched))

    async def logs(self, request: Request) -> web.StreamResponse:
        if not takes_text(request.http.headers.get("Accept", "")):
            raise refused_form(("text/plain", *BODY_TYPES))
        log_options.check(request.http.query, request.target.name)
        pod = live_object(self._state, request.call)
        container = container_of(pod, request.http.query.get("container"))
        if not self._host(pod):  # nothing was written yet
            return web.Response(status=204, content_type="text/plain")
        return await self._node.logs(request.http, pod, container)

    async def stream(self, request: Request) -> web.StreamResponse:
        pod, verb = live_object(self._state, request.call), request.target.subresource
        container = container_of(pod, request.http.query.get("container")) if verb != "portforward" else "-"
        if not self._host(pod):
            raise bad_request(f"pod {request.target.name} does not have a host assigned")
        return await self._node.stream(request.http, pod, container, verb)

    def _host(self, pod: Obj) -> str:
        """The node that a pod is on, empty where it has none yet; 404 where that node is gone."""
        node = str(pod["spec"].get("nodeName") or "")
        if node and self._state.store.get("nodes", "", node) is None:
            raise not_found(_PODS, node)  # so the real server words it
        return node

    async def token(self, request: Request) -> web.StreamResponse:
        body = await self._body(request)
        found = subresources.token_request(self._state, request.call, self._tokens, body)
        await self._state.store.durable()
        return json_response(found, 201, {})

    async def eviction(self, request: Request) -> web.StreamResponse:
        body = await self._body(request)
        _dry_run_of(request.call, (body or {}).get("deleteOptions"))
        return await self._done(request, subresources.evict(self._state, request.call, body), 201)

    async def binding(self, request: Request) -> web.StreamResponse:
        body = await self._body(request)
        return await self._done(request, subresources.bind(self._state, request.call, body), 201)


def _check_not_impersonating(http: web.BaseRequest) -> None:
    """Everybody who is known may do everything here, so an answer for somebody else would be false."""
    name = http.headers.get("Impersonate-User")
    if name is not None:
        why = "this API server knows no impersonation: ask without --as, every known user may do everything"
        raise forbidden(Subject("", "users", "User"), name, why)


def _is_impossible(request: Request, verb: str) -> bool:
    """A collection is deleted within a namespace, a status is never deleted."""
    if verb == "deletecollection":
        return request.kind.namespaced and not request.target.namespace
    return verb == "delete" and request.target.subresource == "status"


def _verb(request: Request) -> str:
    """The verb of a request, as permissions name it."""
    named = bool(request.target.name)
    match request.http.method:
        case "GET" | "HEAD":
            if named:
                return "get"
            return "watch" if flag(request.http.query, "watch") else "list"
        case "POST":
            return "" if named else "create"
        case "PUT":
            return "update" if named else ""
        case "PATCH":
            return "patch" if named else ""
        case "DELETE":
            return "delete" if named else "deletecollection"
    return ""


_DONE_BY = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_VERBS: Mapping[str, Callable[[Api, Request], Awaitable[web.StreamResponse]]] = {
    "get": Api.get,
    "list": Api.list,
    "watch": Api.watch,
    "create": Api.create,
    "update": Api.update,
    "patch": Api.patch,
    "delete": Api.delete,
    "deletecollection": Api.deletecollection,
}
_SUBRESOURCES: Mapping[str, Callable[[Api, Request], Awaitable[web.StreamResponse]]] = {
    "scale": Api.scale,
    "log": Api.logs,
    "exec": Api.stream,
    "attach": Api.stream,
    "portforward": Api.stream,
    "token": Api.token,
    "eviction": Api.eviction,
    "binding": Api.binding,
}


def _not_allowed(request: Request) -> ApiError:
    """405, which custom resources word in their own way for what their subresources do not have."""
    verb = _DONE_BY.get(request.http.method, "")
    if request.kind.custom is not None and request.target.subresource and verb in ("create", "delete"):
        return method_not_supported(request.kind.subject, verb)
    return method_not_allowed()


def _manager_required() -> ApiError:
    return invalid_object(_PATCH_OPTIONS, "", [required("fieldManager", "is required for apply patch")])


def _dry_run_of(call: Call, options: Any) -> None:
    if isinstance(options, dict) and options.get("dryRun"):
        call.dry_run = is_dry_run({"dryRun": options["dryRun"][0]}, "DELETE")


def _shower(kind: Kind, answer: Answer) -> Callable[[Obj], Obj] | None:
    """How watch events show an object; None for as it is stored."""
    if answer.form == "Table":
        return _table_shower(kind, answer)
    if answer.form:
        return lambda obj: lists.partial(obj, answer.api_version)
    return None if is_shown_as_stored(kind) else lambda obj: shown(kind, obj)


def _table_shower(kind: Kind, answer: Answer) -> Callable[[Obj], Obj]:
    """Rows as tables of one; only the first names the columns."""
    count = itertools.count()

    def show(obj: Obj) -> Obj:
        metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        return table_of(kind, [shown(kind, obj)], metadata, answer.api_version, columns=next(count) == 0)

    return show
