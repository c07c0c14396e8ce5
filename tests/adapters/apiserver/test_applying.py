"""Server-side apply and managedFields."""

from __future__ import annotations

import json
from typing import Any

from adapters.apiserver.client import STRATEGIC, Client, config_map


def owners(obj: Any) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", ())}


def statefulset(**container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "st"},
        "spec": {
            "serviceName": "s",
            "replicas": 2,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i:1", **container}]},
            },
        },
    }


def test_apply_creates_and_owns_exactly_what_it_names(api: Client, core: str) -> None:
    answer = api.apply(f"{core}/configmaps/a", config_map("a", {"k": "v"}, labels={"l": "1"}))
    assert answer.code == 201
    assert owners(answer.body) == {"m": {"f:data": {"f:k": {}}, "f:metadata": {"f:labels": {"f:l": {}}}}}


def test_applying_the_same_again_changes_nothing(api: Client, core: str) -> None:
    body = config_map("a", {"k": "v"})
    made = api.apply(f"{core}/configmaps/a", body)
    again = api.apply(f"{core}/configmaps/a", body)
    assert (again.code, again.version) == (200, made.version)


def test_field_given_up_is_removed(api: Client, core: str) -> None:
    path = f"{core}/configmaps/a"
    api.apply(path, config_map("a", {"x": "1", "y": "2"}))
    assert api.apply(path, config_map("a", {"x": "1"}))["data"] == {"x": "1"}


def test_field_of_two_owners_survives_the_first_giving_up(api: Client, core: str) -> None:
    path = f"{core}/configmaps/a"
    api.apply(path, config_map("a", {"x": "1"}), "one")
    api.apply(path, config_map("a", {"x": "1"}), "two")
    api.apply(path, config_map("a"), "one")
    assert api.get(path)["data"] == {"x": "1"}


def test_changing_a_value_of_another_is_a_conflict_unless_forced(api: Client, core: str) -> None:
    path = f"{core}/configmaps/a"
    api.apply(path, config_map("a", {"x": "1"}), "one")
    refused = api.apply(path, config_map("a", {"x": "2"}), "two")
    assert (refused.code, refused["reason"]) == (409, "Conflict")
    assert refused["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}
    ]
    forced = api.apply(path, config_map("a", {"x": "2"}), "two", force=True)
    assert forced["data"] == {"x": "2"}
    assert set(owners(forced.body)) == {"two"}


def test_keyed_lists_merge_by_their_keys(api: Client, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/st"
    api.apply(path, statefulset(env=[{"name": "A", "value": "1"}]), "one")
    extra: Any = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "st"}}
    extra["spec"] = {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "B", "value": "2"}]}]}}}
    answer = api.apply(path, extra, "two")
    env = answer["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [entry["name"] for entry in env] == ["A", "B"]
    container = owners(answer.body)["two"]["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}']
    assert container == {".": {}, "f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}, "f:name": {}}
    api.apply(path, statefulset(), "one")
    env = api.get(path)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [entry["name"] for entry in env] == ["B"]


def test_defaults_belong_to_nobody_after_apply_and_to_the_writer_after_create(api: Client, namespace: str) -> None:
    base = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    applied = api.apply(f"{base}/st", statefulset())
    assert "f:podManagementPolicy" not in owners(applied.body)["m"]["f:spec"]
    made = api.post(base, {**statefulset(), "metadata": {"name": "other"}})
    assert "f:podManagementPolicy" in owners(made.body)["test"]["f:spec"]


def test_update_takes_ownership_and_apply_then_conflicts(api: Client, core: str) -> None:
    path = f"{core}/configmaps/a"
    api.apply(path, config_map("a", {"x": "1"}), "one")
    api("PATCH", f"{path}?fieldManager=upd", {"data": {"x": "2"}}, STRATEGIC)
    assert owners(api.get(path).body) == {"upd": {"f:data": {"f:x": {}}}}
    refused = api.apply(path, config_map("a", {"x": "1"}), "one")
    assert 'conflict with "upd" using v1' in refused["message"]


def test_kubectl_takes_over_what_it_applied_and_nobody_changed_since(api: Client, core: str) -> None:
    """Its annotation of client-side apply says so; a value that somebody else has edited stays a conflict."""
    path = f"{core}/configmaps/a"
    last = config_map("a", {"kept": "1", "edited": "1"})
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(last)}
    written = {**last, "metadata": {"name": "a", "annotations": annotations}}
    api("POST", f"{core}/configmaps?fieldManager=kubectl-client-side-apply", written)
    api.patch(f"{path}?fieldManager=kubectl-edit", {"data": {"edited": "2"}})
    answer = api.apply(path, config_map("a", {"kept": "3", "edited": "3"}), "kubectl")
    assert answer.code == 409
    assert [cause["field"] for cause in answer["details"]["causes"]] == [".data.edited"]
    assert api.apply(path, config_map("a", {"kept": "3"}), "kubectl").code == 200


def test_status_and_scale_have_entries_of_their_own(api: Client, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/st"
    api.apply(path, statefulset())
    status = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "st"}, "status": {"replicas": 1}}
    api.apply(f"{path}/status", status, "controller")
    api.patch(f"{path}/scale?fieldManager=person", {"spec": {"replicas": 5}})
    entries = {entry["manager"]: entry for entry in api.get(path)["metadata"]["managedFields"]}
    assert entries["controller"]["subresource"] == "status"
    assert entries["controller"]["fieldsV1"] == {"f:status": {"f:replicas": {}}}
    assert entries["person"]["subresource"] == "scale"
    assert "f:replicas" not in entries["m"]["fieldsV1"]["f:spec"]


def test_stale_uid_never_brings_an_object_back(api: Client, core: str) -> None:
    path = f"{core}/configmaps/a"
    uid = api.apply(path, config_map("a", {"x": "1"}))["metadata"]["uid"]
    api.delete(path)
    assert api.apply(path, config_map("a", {"x": "1"}, uid=uid)).code == 409
    assert api.get(path).code == 404


def test_an_apply_with_an_old_version_changes_nothing(api: Client, core: str) -> None:
    path = f"{core}/configmaps/a"
    version = api.apply(path, config_map("a", {"x": "1"}))["metadata"]["resourceVersion"]
    api.patch(path, {"data": {"y": "2"}})
    assert api.apply(path, config_map("a", {"x": "3"}, resourceVersion=version)).code == 409
    assert api.get(path)["data"] == {"x": "1", "y": "2"}


def test_managed_fields_can_be_handed_over(api: Client, core: str) -> None:
    """What adoption does: an Update entry becomes an Apply entry."""
    path = f"{core}/configmaps/a"
    made = api("POST", f"{core}/configmaps?fieldManager=old", config_map("a", {"x": "1", "y": "2"})).body
    entry = {**made["metadata"]["managedFields"][0], "manager": "new", "operation": "Apply"}
    patch = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]},
    ]
    assert api("PATCH", path, patch, "application/json-patch+json").code == 200
    assert api.apply(path, config_map("a", {"x": "1"}), "new")["data"] == {"x": "1"}


def test_unknown_fields_and_duplicate_keys_are_refused(api: Client, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets/st"
    unknown = api.apply(path, {**statefulset(), "nope": 1})
    assert (unknown.code, ".nope: field not declared in schema" in unknown["message"]) == (500, True)
    twice = api.apply(path, statefulset(env=[{"name": "A"}, {"name": "A"}]))
    assert 'duplicate entries for key [name="A"]' in json.dumps(twice.body).replace('\\"', '"')
