"""What differs between intended and live objects, what that costs, and what counts as no difference."""

import json
from copy import deepcopy
from typing import Any

import pytest

from howdah.core.objects.build import build
from howdah.core.objects.diff import Effect, compare, given_up, left_over, template_differences
from howdah.core.resolve import resolve
from howdah.local.apiserver.defaulting import apply_defaults
from howdah.model.settings import settings_from_configmap

Json = dict[str, Any]


def _objects(**spec: Any) -> dict[str, Json]:
    manifest = {
        "apiVersion": "acid.zalan.do/v1",
        "kind": "postgresql",
        "metadata": {"name": "acid-a", "namespace": "ns", "uid": "u-1"},
        "spec": {
            "teamId": "acid",
            "numberOfInstances": 2,
            "postgresql": {"version": "17"},
            "volume": {"size": "1Gi"},
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            **spec,
        },
    }
    settings, _ = settings_from_configmap({"enable_master_load_balancer": "false"})
    return {f"{body['kind']}/{body['metadata']['name']}": body for body in build(resolve(manifest, settings))}


def _stateful_set(**spec: Any) -> Json:
    return _objects(**spec)["StatefulSet/acid-a"]


def _template(**spec: Any) -> Json:
    template: Json = _stateful_set(**spec)["spec"]["template"]
    return template


def _as_kept(body: Json) -> Json:
    live = deepcopy(body)
    storage = {"StatefulSet": "statefulsets.apps", "Service": "services"}[body["kind"]]
    apply_defaults(storage, live)
    return live


def _postgres(template: Json) -> Json:
    container: Json = template["spec"]["containers"][0]
    return container


# --- no difference -----------------------------------------------------------------------------------------------------


def test_what_the_server_fills_in_is_no_difference() -> None:
    for name in ("StatefulSet/acid-a", "Service/acid-a"):
        body = _objects()[name]
        live = _as_kept(body)
        live["metadata"] |= {"resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 3}
        assert live != body
        assert compare(body, live) == ()


def test_what_others_write_beside_is_no_difference() -> None:
    body = _stateful_set()
    live = _as_kept(body)
    live["metadata"]["annotations"] = {"theirs": "x"}
    live["spec"]["template"]["spec"]["containers"].append({"name": "injected", "image": "mesh"})
    live["spec"]["template"]["spec"]["hostAliases"] = [{"ip": "10.0.0.1"}]
    assert compare(body, live) == ()


def test_quantities_compare_by_amount_and_maps_by_their_keys() -> None:
    template = _template(env=[{"name": "A", "value": "1"}, {"name": "B", "value": ""}])
    live = _as_kept({"kind": "StatefulSet", "spec": {"template": deepcopy(template)}})["spec"]["template"]
    container = _postgres(live)
    container["resources"]["requests"] = {"cpu": "1000m", "memory": "1024Mi"}
    container["env"] = [*reversed(container["env"])]
    container["volumeMounts"] = [*reversed(container["volumeMounts"])]
    for entry in container["env"]:
        if entry.get("value") == "":
            del entry["value"]  # the server does not store an empty value
    assert template_differences(template, live) == ()


def test_bootstrap_settings_never_roll() -> None:
    assert template_differences(_template(patroni={"ttl": 40}), _template(patroni={"initdb": {"locale": "C"}})) == ()


def test_of_a_variable_that_is_there_twice_the_later_one_counts() -> None:
    template = _template(env=[{"name": "A", "value": "2"}])
    live = deepcopy(template)
    _postgres(live)["env"].insert(0, {"name": "A", "value": "1"})
    assert template_differences(template, live) == ()


# --- effects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "path", "effect"),
    [
        ({"numberOfInstances": 3}, "spec.replicas", Effect.PATCH),
        ({"dockerImage": "spilo:2"}, "spec.template.spec.containers[postgres].image", Effect.ROLL),
        ({"podAnnotations": {"a.b/c": "d"}}, "spec.template.metadata.annotations", Effect.PATCH),
        ({"env": [{"name": "A", "value": "1"}]}, "spec.template.spec.containers[postgres].env[A]", Effect.ROLL),
        ({"schedulerName": "other"}, "spec.template.spec.schedulerName", Effect.PATCH),
        ({"tolerations": [{"key": "a", "operator": "Exists"}]}, "spec.template.spec.tolerations", Effect.ROLL),
        (
            {"postgresql": {"version": "17", "parameters": {"shared_buffers": "1GB"}}},
            "spec.template.spec.containers[postgres].env[SPILO_CONFIGURATION].value.postgresql.parameters",
            Effect.ROLL,
        ),
        ({"volume": {"size": "2Gi"}}, "spec.volumeClaimTemplates[0].spec.resources.requests.storage", Effect.REPLACE),
        (
            {"volume": {"size": "1Gi", "storageClass": "fast"}},
            "spec.volumeClaimTemplates[0].spec.storageClassName",
            Effect.REPLACE,
        ),
    ],
)
def test_a_changed_manifest_costs_what_the_table_says(spec: Json, path: str, effect: Effect) -> None:
    found = compare(_stateful_set(**spec), _as_kept(_stateful_set()))
    assert [(difference.path, difference.effect) for difference in found] == [(path, effect)]


@pytest.mark.parametrize("field", ["serviceName", "podManagementPolicy"])
def test_fields_that_may_not_change_make_the_stateful_set_anew(field: str) -> None:
    body = _stateful_set()
    live = _as_kept(body)
    live["spec"][field] = "other"
    assert [(d.path, d.effect) for d in compare(body, live)] == [(f"spec.{field}", Effect.REPLACE)]


def test_a_selector_with_a_label_too_many_makes_the_stateful_set_anew() -> None:
    body = _stateful_set()
    live = _as_kept(body)
    live["spec"]["selector"]["matchLabels"]["more"] = "x"
    assert [(d.path, d.effect) for d in compare(body, live)] == [("spec.selector.matchLabels.more", Effect.REPLACE)]


def test_a_budget_turned_round_is_a_difference() -> None:
    body = _objects()["PodDisruptionBudget/postgres-acid-a-critical-op-pdb"]
    live = deepcopy(body)
    live["spec"]["minAvailable"] = live["spec"].pop("maxUnavailable")
    assert [d.path for d in compare(body, live)] == ["spec.maxUnavailable"]


def test_the_shared_account_is_left_alone() -> None:
    body = _objects()["RoleBinding/postgres-pod"]
    live = {**deepcopy(body), "roleRef": {"kind": "Role", "name": "mine"}, "subjects": []}
    assert compare(body, live) == ()


# --- templates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "path"),
    [
        ({"env": [{"name": "A", "value": "1"}]}, "spec.containers[postgres].env[A]"),
        ({"sidecars": [{"name": "s", "image": "i"}]}, "spec.containers[s]"),
        ({"tolerations": [{"key": "a", "operator": "Exists"}]}, "spec.tolerations"),
        ({"podPriorityClassName": "high"}, "spec.priorityClassName"),
        ({"spiloRunAsUser": 101}, "spec.securityContext"),
        ({"livenessProbe": {"tcpSocket": {"port": 1}}}, "spec.containers[postgres].livenessProbe"),
    ],
)
def test_what_is_no_longer_in_the_manifest_rolls_the_pods_that_have_it(before: Json, path: str) -> None:
    found = template_differences(_template(), _as_kept(_stateful_set(**before))["spec"]["template"])
    assert [(d.path, d.effect, d.intended) for d in found] == [(path, Effect.ROLL, None)]


def test_what_others_keep_writing_into_the_template_does_not_roll_for_ever() -> None:
    template = _template()
    revision = deepcopy(template)
    revision["spec"]["containers"].append({"name": "injected", "image": "mesh"})
    assert template_differences(template, revision, standing=revision) == ()
    assert len(template_differences(template, revision, standing=template)) == 1


def test_a_changed_annotation_alone_rolls_nothing() -> None:
    found = template_differences(_template(podAnnotations={"a": "2"}), _template(podAnnotations={"a": "1"}))
    assert [(d.path, d.effect) for d in found] == [("metadata.annotations.a", Effect.PATCH)]


def test_a_label_rolls() -> None:
    found = template_differences(_template(teamId="other"), _template())
    assert [(d.path, d.effect) for d in found] == [("metadata.labels.team", Effect.ROLL)]


def test_a_credential_that_becomes_a_reference_is_a_patch_and_is_not_shown() -> None:
    clone = {
        "cluster": "source",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "s3_wal_path": "s3://b/p",
        "s3_secret_access_key": "HUSH",
    }
    template = _template(clone=clone)
    live = deepcopy(template)
    for entry in _postgres(live)["env"]:
        if entry["name"] == "CLONE_AWS_SECRET_ACCESS_KEY":
            del entry["valueFrom"]
            entry["value"] = "HUSH"
    found = template_differences(template, live)
    assert {d.effect for d in found} == {Effect.PATCH}
    assert "HUSH" not in repr(found)


def test_another_variable_that_becomes_a_reference_rolls() -> None:
    reference = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    found = template_differences(_template(env=[reference]), _template(env=[{"name": "A", "value": "1"}]))
    assert {d.effect for d in found} == {Effect.ROLL}


# --- given up ----------------------------------------------------------------------------------------------------------


def _owned(fields: Json, manager: str = "howdah") -> list[Json]:
    return [{"manager": manager, "operation": "Apply", "fieldsV1": fields}]


def _key(**key: Any) -> str:
    return f"k:{json.dumps(key)}"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"f:metadata": {"f:labels": {"f:team": {}, "f:gone": {}}}}, ("metadata.labels.gone",)),
        ({"f:metadata": {"f:annotations": {".": {}, "f:a.b/c": {}}}}, ("metadata.annotations[a.b/c]",)),
        ({"f:spec": {"f:replicas": {}, "f:minReadySeconds": {}}}, ()),  # the server fills it in
        (
            {"f:metadata": {"f:labels": {"f:type": {}}}},
            ("metadata.labels.type",),
        ),  # data, although a field is called so
        ({"f:spec": {"f:template": {"f:spec": {"f:securityContext": {}}}}}, ()),
        (
            {"f:spec": {"f:template": {"f:spec": {"f:securityContext": {"f:runAsUser": {}}}}}},
            ("spec.template.spec.securityContext",),
        ),
        (
            {"f:spec": {"f:template": {"f:spec": {"f:containers": {_key(name="old"): {".": {}}}}}}},
            ("spec.template.spec.containers[old]",),
        ),
        (
            {
                "f:spec": {
                    "f:template": {
                        "f:spec": {
                            "f:containers": {_key(name="postgres"): {"f:env": {_key(name="SCOPE"): {"f:value": {}}}}}
                        }
                    }
                }
            },
            (),
        ),
    ],
)
def test_what_we_own_and_no_longer_intend_is_given_up(fields: Json, expected: tuple[str, ...]) -> None:
    body = _stateful_set()
    assert given_up(_owned(fields), body, _as_kept(body), manager="howdah") == expected
    assert given_up(_owned(fields, "somebody"), body, _as_kept(body), manager="howdah") == ()


SIDECAR = {"name": "exporter", "image": "e:1"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            {"livenessProbe": {"exec": {"command": ["true"]}, "failureThreshold": 10, "timeoutSeconds": 5}},
            {"livenessProbe": {"exec": {"command": ["true"]}}},
            ("livenessProbe.failureThreshold", "livenessProbe.timeoutSeconds"),
        ),
        (
            {"livenessProbe": {"exec": {"command": ["true"]}, "failureThreshold": 3, "timeoutSeconds": 1}},
            {"livenessProbe": {"exec": {"command": ["true"]}}},
            (),  # as the server would fill them in again
        ),
        (
            {"volumeMounts": [{"name": "a", "mountPath": "/a", "readOnly": True}]},
            {"volumeMounts": [{"name": "a", "mountPath": "/a"}]},
            ("volumeMounts[/a].readOnly",),
        ),
        (
            {"volumeMounts": [{"name": "a", "mountPath": "/a", "readOnly": False}]},
            {"volumeMounts": [{"name": "a", "mountPath": "/a"}]},
            (),
        ),
        ({"imagePullPolicy": "Never"}, {}, ("imagePullPolicy",)),
        ({"imagePullPolicy": "Always"}, {}, ()),
        ({"terminationMessagePolicy": "FallbackToLogsOnError"}, {}, ("terminationMessagePolicy",)),
    ],
)
def test_a_value_that_the_server_would_not_fill_in_is_given_up(
    before: Json, after: Json, expected: tuple[str, ...]
) -> None:
    was, is_now = _stateful_set(), _stateful_set()
    was["spec"]["template"]["spec"]["containers"].append({**SIDECAR, **before})
    is_now["spec"]["template"]["spec"]["containers"].append({**SIDECAR, **after})
    place = "spec.template.spec.containers[exporter]"
    left = given_up(_owned(_fields(was)), is_now, _as_kept(was), manager="howdah")
    assert left == tuple(f"{place}.{path}" for path in expected)


@pytest.mark.parametrize(
    ("kind", "path", "effect"),
    [
        ("StatefulSet", "spec.template.spec.containers[exporter]", Effect.ROLL),
        ("StatefulSet", "spec.template.spec.containers[a.b].livenessProbe.failureThreshold", Effect.ROLL),
        ("StatefulSet", "spec.template.metadata.labels[a.b/c]", Effect.ROLL),
        ("StatefulSet", "spec.template.metadata.annotations[a.b/c]", Effect.PATCH),
        ("StatefulSet", "spec.template.spec.schedulerName", Effect.PATCH),
        ("StatefulSet", "metadata.labels.team", Effect.PATCH),
        ("Deployment", "spec.template.spec.priorityClassName", Effect.ROLL),
        ("Service", "spec.externalTrafficPolicy", Effect.PATCH),
    ],
)
def test_what_is_given_up_costs_what_a_change_of_it_does(kind: str, path: str, effect: Effect) -> None:
    (one,) = left_over((path,), kind)
    assert (one.path, one.effect) == (path, effect)
    assert one.reason == f"{path} is not intended any more"


def test_what_is_owned_and_not_there_is_not_given_up() -> None:
    owned = _owned({"f:spec": {"f:template": {"f:spec": {"f:schedulerName": {}}}}})
    there = _as_kept(_stateful_set())
    del there["spec"]["template"]["spec"]["schedulerName"]
    assert given_up(owned, _stateful_set(), there, manager="howdah") == ()
    there["spec"]["template"]["spec"]["schedulerName"] = "stork"
    left = given_up(owned, _stateful_set(), there, manager="howdah")
    assert left == ("spec.template.spec.schedulerName",)


def test_what_a_creation_owns_besides_is_not_given_up() -> None:
    # The server counts what it fills in to the fields of the creator.
    body = _stateful_set()
    kept = _as_kept(body)
    owned = [{"manager": "howdah", "operation": "Update", "fieldsV1": _fields(kept)}]
    assert given_up(owned, body, kept, manager="howdah") == ()


def _fields(value: Any) -> Json:
    """The fields of a whole object, as managedFields has them; lists without keys are single fields."""
    if isinstance(value, dict):
        return {
            f"f:{key}": _fields(below)
            for key, below in value.items()
            if key not in ("apiVersion", "kind", "name", "namespace")
        }
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        key = next((key for key in ("mountPath", "name") if all(key in item for item in value)), None)
        return {_key(**{key: item[key]}): {".": {}, **_fields(item)} for item in value} if key else {}
    return {}
