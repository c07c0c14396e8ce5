import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from howdah.kube.client import Client
from howdah.kube.credentials import Proof
from howdah.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    ServerUnavailable,
    TooManyRequests,
    Unreachable,
)
from howdah.kube.exec import ExecResult
from howdah.kube.informer import ObjectMetadata, PartialObject
from howdah.kube.resources import CONFIGMAPS, PODS, SECRETS, STATEFUL_SETS, custom_resource
from howdah.kube.testing import FakeKubernetes, Fault, fitting

POSTGRESQLS = custom_resource("acid.zalan.do/v1", "postgresql", "postgresqls")


class ConfigMap(msgspec.Struct, frozen=True):
    metadata: ObjectMetadata
    data: dict[str, str] | None = None


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "team", "labels": {"app": name}}, "data": data}


async def test_create_then_get_and_list_read_the_caller_s_type(client: Client) -> None:
    created = await client.create(CONFIGMAPS, config_map(x="1"))
    assert created["kind"] == "ConfigMap"
    read = await client.get(CONFIGMAPS, "a", namespace="team", type=ConfigMap)
    assert (read.data, read.metadata.uid) == ({"x": "1"}, created["metadata"]["uid"])
    listing = await client.list(CONFIGMAPS, labels="app=a", type=ConfigMap)
    assert listing.items == (read,)


async def test_create_of_a_taken_name_is_already_exists(client: Client) -> None:
    await client.create(CONFIGMAPS, config_map())
    with pytest.raises(AlreadyExists, match="create configmaps team/a: 409"):
        await client.create(CONFIGMAPS, config_map())


async def test_list_joins_all_pages(kube: FakeKubernetes, client: Client) -> None:
    kube.store.seed(CONFIGMAPS, *(config_map(f"n{n:04}") for n in range(1201)))
    listing = await client.list(CONFIGMAPS, type=PartialObject, metadata_only=True)
    assert [item.metadata.name for item in listing.items] == [f"n{n:04}" for n in range(1201)]
    assert [request.verb for request in kube.requests] == ["list"] * 3


async def test_the_version_that_a_list_must_not_be_older_than_is_said_once(
    kube: FakeKubernetes, client: Client
) -> None:
    kube.store.seed(CONFIGMAPS, *(config_map(f"n{n:04}") for n in range(501)))
    seen = (await client.get(CONFIGMAPS, "n0500", namespace="team"))["metadata"]["resourceVersion"]
    kube.requests.clear()
    assert len((await client.list(CONFIGMAPS, not_older_than=seen)).items) == 501
    said = [(p.get("resourceVersion"), p.get("resourceVersionMatch")) for p in (r.params for r in kube.requests)]
    assert said == [(seen, "NotOlderThan"), (None, None)], "a server refuses it beside `continue`"


async def test_list_starts_again_where_its_pages_expired(kube: FakeKubernetes, client: Client) -> None:
    kube.store.seed(CONFIGMAPS, *(config_map(f"n{n:04}") for n in range(1100)))

    async def compact_before_the_second_page(request: Any) -> None:
        if request.params.get("continue"):
            kube.expire()

    kube.before = compact_before_the_second_page
    assert len((await client.list(CONFIGMAPS)).items) == 1100


async def test_apply_gives_up_fields_it_no_longer_names(client: Client) -> None:
    await client.apply(CONFIGMAPS, config_map(x="1", y="2"))
    await client.merge_patch(CONFIGMAPS, "a", {"data": {"theirs": "3"}}, namespace="team")
    assert (await client.apply(CONFIGMAPS, config_map(x="1")))["data"] == {"x": "1", "theirs": "3"}


async def test_apply_that_changes_nothing_writes_nothing(client: Client) -> None:
    first = await client.apply(CONFIGMAPS, config_map(x="1"))
    second = await client.apply(CONFIGMAPS, config_map(x="1"))
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_apply_against_another_owner_is_a_conflict_unless_forced(client: Client) -> None:
    await client.apply(CONFIGMAPS, config_map(x="1"), field_manager="other")
    with pytest.raises(Conflict, match=r'conflict with "other": \.data\.x'):
        await client.apply(CONFIGMAPS, config_map(x="2"))
    assert (await client.apply(CONFIGMAPS, config_map(x="2"), force=True))["data"] == {"x": "2"}


async def test_apply_with_a_uid_does_not_bring_a_deleted_object_back(client: Client) -> None:
    created = await client.create(CONFIGMAPS, config_map())
    await client.delete(CONFIGMAPS, "a", namespace="team", uid=created["metadata"]["uid"])
    body = config_map(x="1")
    body["metadata"]["uid"] = created["metadata"]["uid"]
    with pytest.raises(Conflict, match="uid mismatch"):
        await client.apply(CONFIGMAPS, body)
    assert (await client.list(CONFIGMAPS)).items == ()


async def test_a_change_of_an_object_that_was_replaced_is_a_conflict(client: Client) -> None:
    body = config_map(x="1")
    await client.create(CONFIGMAPS, config_map())
    body["metadata"]["uid"] = "that-of-its-predecessor"
    with pytest.raises(Conflict, match=r"metadata\.uid"):
        await client.apply(CONFIGMAPS, body)
    with pytest.raises(Conflict, match=r"metadata\.uid"):
        await client.merge_patch(CONFIGMAPS, "a", body, namespace="team")


async def test_merge_patch_with_an_old_version_is_a_conflict(client: Client) -> None:
    created = await client.create(CONFIGMAPS, config_map())
    old = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}, "data": {"x": "1"}}
    await client.merge_patch(CONFIGMAPS, "a", old, namespace="team")
    with pytest.raises(Conflict):
        await client.merge_patch(CONFIGMAPS, "a", old, namespace="team")


async def test_json_patch_tests_before_it_changes(client: Client) -> None:
    await client.create(CONFIGMAPS, config_map(x="1"))
    swap = [{"op": "test", "path": "/data/x", "value": "1"}, {"op": "replace", "path": "/data/x", "value": "2"}]
    assert (await client.json_patch(CONFIGMAPS, "a", swap, namespace="team"))["data"] == {"x": "2"}
    with pytest.raises(Invalid):
        await client.json_patch(CONFIGMAPS, "a", swap, namespace="team")


async def test_delete_holds_its_preconditions(client: Client) -> None:
    created = (await client.create(CONFIGMAPS, config_map()))["metadata"]
    with pytest.raises(Conflict, match="UID in the precondition"):
        await client.delete(CONFIGMAPS, "a", namespace="team", uid="another")
    with pytest.raises(Conflict, match="ResourceVersion"):
        await client.delete(CONFIGMAPS, "a", namespace="team", resource_version="1")
    await client.delete(
        CONFIGMAPS, "a", namespace="team", uid=created["uid"], resource_version=created["resourceVersion"]
    )
    with pytest.raises(NotFound):
        await client.get(CONFIGMAPS, "a", namespace="team")


async def test_dry_run_changes_nothing(client: Client) -> None:
    await client.create(CONFIGMAPS, config_map(x="1"))
    version = (await client.list(CONFIGMAPS)).resource_version
    assert (await client.apply(CONFIGMAPS, config_map(y="2"), force=True, dry_run=True))["data"]["y"] == "2"
    await client.create(CONFIGMAPS, config_map("b"), dry_run=True)
    await client.delete(CONFIGMAPS, "a", namespace="team", dry_run=True)
    listing = await client.list(CONFIGMAPS, type=ConfigMap)
    assert [(item.metadata.name, item.data) for item in listing.items] == [("a", {"x": "1"})]
    assert listing.resource_version == version


async def test_status_and_main_resource_are_written_apart(client: Client) -> None:
    body = {"metadata": {"name": "c", "namespace": "team"}, "spec": {"numberOfInstances": 1}}
    await client.create(POSTGRESQLS, body)
    patch = {"spec": {"numberOfInstances": 9}, "status": {"PostgresClusterStatus": "Running"}}
    after = await client.merge_patch(POSTGRESQLS, "c", patch, namespace="team", subresource="status")
    assert (after["spec"]["numberOfInstances"], after["status"]) == (1, {"PostgresClusterStatus": "Running"})
    assert after["metadata"]["generation"] == 1
    after = await client.merge_patch(
        POSTGRESQLS, "c", {"spec": {"numberOfInstances": 2}, "status": {}}, namespace="team"
    )
    assert after["status"] == {"PostgresClusterStatus": "Running"}
    assert after["metadata"]["generation"] == 2


async def test_scale_is_read_and_written_by_its_subresource(client: Client) -> None:
    await client.create(STATEFUL_SETS, {"metadata": {"name": "c", "namespace": "team"}, "spec": {"replicas": 1}})
    scale = {"spec": {"replicas": 3}}
    await client.merge_patch(STATEFUL_SETS, "c", scale, namespace="team", subresource="scale")
    assert (await client.get(STATEFUL_SETS, "c", namespace="team"))["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("verb", "code", "error", "tries"),
    [
        ("create", 429, None, 2),
        ("create", 503, ServerUnavailable, 1),
        ("create", 0, Unreachable, 1),
        ("get", 503, None, 2),
        ("get", 0, None, 2),
        ("get", 500, ServerUnavailable, 1),
        ("get", 403, Forbidden, 1),
    ],
)
async def test_one_failure_is_bridged_only_where_repeating_is_safe(
    kube: FakeKubernetes, client: Client, verb: str, code: int, error: type[Exception] | None, tries: int
) -> None:
    kube.store.seed(CONFIGMAPS, config_map("b"))
    kube.fail_next(code, verb=verb)
    call = (
        client.create(CONFIGMAPS, config_map()) if verb == "create" else client.get(CONFIGMAPS, "b", namespace="team")
    )
    if error:
        with pytest.raises(error):
            await call
    else:
        await call
    assert len([request for request in kube.requests if request.verb == verb]) == tries


async def test_retry_after_is_waited_for_and_bounded_by_the_time_out(kube: FakeKubernetes, client: Client) -> None:
    kube.fail_next(429, "TooManyRequests", retry_after_s=1)
    started = asyncio.get_running_loop().time()
    await client.list(CONFIGMAPS)
    assert asyncio.get_running_loop().time() - started >= 1
    kube.fail_next(429, "TooManyRequests", retry_after_s=3600)
    with pytest.raises(TooManyRequests) as caught:
        await client.list(CONFIGMAPS)
    assert caught.value.retry_after_s == 3600


async def test_a_server_that_does_not_answer_is_unreachable_in_time(kube: FakeKubernetes) -> None:
    kube.stall_next(30, verb="get")
    async with kube.client(timeout_s=0.2) as client:
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            await client.get(CONFIGMAPS, "a", namespace="team")


async def test_no_server_is_unreachable(kube: FakeKubernetes, client: Client) -> None:
    await kube.stop()
    with pytest.raises(Unreachable, match="cannot connect to 127"):
        await client.list(CONFIGMAPS)


async def test_concurrent_calls_are_bounded(kube: FakeKubernetes) -> None:
    at_once = most = 0

    async def count(_: Any) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1

    kube.before = count
    async with kube.client(concurrency=4) as client:
        await asyncio.gather(*(client.list(CONFIGMAPS) for _ in range(20)))
    assert most == 4


async def test_each_attempt_is_observed(kube: FakeKubernetes) -> None:
    seen: list[tuple[str, str, int]] = []
    kube.fail_next(503, verb="list")
    kube.fail_next(0, verb="create")
    async with kube.client(observe=lambda verb, resource, status, _: seen.append((verb, resource, status))) as client:
        await client.list(PODS)
        with pytest.raises(Unreachable):
            await client.create(CONFIGMAPS, config_map())
        with pytest.raises(NotFound):
            await client.get(POSTGRESQLS, "c", namespace="team", subresource="status")
    assert seen == [
        ("list", "pods", 503),
        ("list", "pods", 200),
        ("create", "configmaps", 0),
        ("get", "postgresqls/status", 404),
    ]


async def test_an_answer_of_another_shape_is_malformed(client: Client) -> None:
    await client.create(CONFIGMAPS, {**config_map(), "data": {"x": 1}})
    with pytest.raises(Malformed, match="does not fit ConfigMap"):
        await client.get(CONFIGMAPS, "a", namespace="team", type=ConfigMap)


async def test_refused_secret_is_not_quoted(client: Client) -> None:
    secret = {"metadata": {"namespace": "team"}, "stringData": {"password": "hunter2"}}
    with pytest.raises(ApiError) as caught:
        await client.create(SECRETS, secret)
    assert "withheld" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_exec_returns_code_and_output(kube: FakeKubernetes, client: Client) -> None:
    kube.store.seed(PODS, {"metadata": {"name": "c-0", "namespace": "team"}})
    kube.exec_handler = lambda namespace, pod, container, argv, stdin: ExecResult(
        3, f"{namespace}/{pod}/{container} {argv}".encode() + stdin, b"err"
    )
    result = await client.exec("c-0", namespace="team", container="postgres", argv=["a", "b c"], stdin=b"in" * 50_000)
    assert result == ExecResult(3, b"team/c-0/postgres ['a', 'b c']" + b"in" * 50_000, b"err")


async def test_exec_in_a_missing_pod_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        await client.exec("c-0", namespace="team", container="postgres", argv=["true"])


async def test_logs_come_as_bytes(kube: FakeKubernetes, client: Client) -> None:
    kube.logs["team", "c-0"] = b"one\ntwo\n"
    async with client.logs("c-0", namespace="team") as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"one\ntwo\n"


async def test_version_is_read_raw(client: Client) -> None:
    assert (await client.get_raw("/version"))["major"] == "1"


class ForfeitedError(Exception):
    """What a test's permit raises."""


@pytest.mark.parametrize("verb", ["apply", "patch", "delete", "create"])
async def test_a_write_that_is_not_permitted_any_more_is_not_sent_again(
    kube: FakeKubernetes, client: Client, verb: str
) -> None:
    if verb != "create":
        await client.create(CONFIGMAPS, config_map(x="1"))
    kube.requests.clear()
    kube.faults.add(Fault(fitting(verb, "configmaps"), status=429, reason="TooManyRequests"))

    def permit() -> None:
        if any(request.status == 429 for request in kube.requests):
            raise ForfeitedError

    writer = client.permitted_by(permit)
    calls = {
        "apply": lambda: writer.apply(CONFIGMAPS, config_map(x="2"), force=True),
        "patch": lambda: writer.merge_patch(CONFIGMAPS, "a", {"data": {"x": "2"}}, namespace="team"),
        "delete": lambda: writer.delete(CONFIGMAPS, "a", namespace="team"),
        "create": lambda: writer.create(CONFIGMAPS, config_map(x="2")),
    }
    with pytest.raises(ForfeitedError):
        await calls[verb]()
    assert [request.status for request in kube.requests] == [429]
    assert (await writer.list(CONFIGMAPS)).items == (await client.list(CONFIGMAPS)).items, "reads are free"


@pytest.mark.parametrize("is_command", [False, True])
async def test_a_write_is_not_sent_that_was_forfeited_while_its_credential_was_made(
    kube: FakeKubernetes, client: Client, is_command: bool
) -> None:
    """Nor is a command in a pod, which is a GET."""
    access, allowed = client.transport._access, [True]
    kube.store.seed(PODS, {"metadata": {"name": "c-0", "namespace": "team"}})

    class Slow:
        """As a program that makes tokens."""

        reject = access.credentials.reject

        async def proof(self) -> Proof:
            allowed[0] = False
            return await access.credentials.proof()

    def permit() -> None:
        if not allowed[0]:
            raise ForfeitedError

    client.transport._access = dataclasses.replace(access, credentials=Slow())
    kube.requests.clear()
    writer = client.permitted_by(permit)
    calls = {
        True: lambda: writer.exec("c-0", namespace="team", container="postgres", argv=["true"]),
        False: lambda: writer.create(CONFIGMAPS, config_map(x="1")),
    }
    with pytest.raises(ForfeitedError):
        await calls[is_command]()
    assert kube.requests == []


async def test_what_is_asked_once_is_not_asked_again_by_a_busy_server(kube: FakeKubernetes, client: Client) -> None:
    await client.create(CONFIGMAPS, config_map(x="1"))
    kube.requests.clear()
    kube.faults.add(Fault(fitting("write", "configmaps"), status=429, reason="TooManyRequests", times=3))
    with pytest.raises(TooManyRequests):
        await client.apply(CONFIGMAPS, config_map(x="2"), once=True)
    with pytest.raises(TooManyRequests):
        await client.merge_patch(CONFIGMAPS, "a", {"data": {"x": "2"}}, namespace="team", once=True)
    with pytest.raises(TooManyRequests):
        await client.delete(CONFIGMAPS, "a", namespace="team", once=True)
    assert [request.status for request in kube.requests] == [429] * 3


async def test_an_apply_with_an_old_version_is_a_conflict(client: Client) -> None:
    created = await client.create(CONFIGMAPS, config_map(x="1"))
    await client.merge_patch(CONFIGMAPS, "a", {"data": {"x": "2"}}, namespace="team")
    body = config_map(x="3")
    body["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"]
    with pytest.raises(Conflict, match="has been modified"):
        await client.apply(CONFIGMAPS, body, force=True)
    assert (await client.get(CONFIGMAPS, "a", namespace="team"))["data"] == {"x": "2"}
