"""CRDs: served at once, schemas enforced in the words of the real server, defaults, pruning, subresources."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.apiserver.client import MERGE, STRATEGIC, TABLE, Client

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["n"],
    "properties": {
        "n": {"type": "integer", "minimum": 0, "maximum": 10},
        "s": {"type": "string", "pattern": "^[a-z]+$"},
        "e": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "maybe": {"type": "string", "nullable": True},
        "obj": {"type": "object", "properties": {"d": {"type": "integer", "default": 5}}},
        "list": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "v": {"type": "integer"}},
            },
        },
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    },
}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.x.test"},
    "spec": {
        "group": "x.test",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"},
                },
                "additionalPrinterColumns": [
                    {"name": "N", "type": "integer", "jsonPath": ".spec.n"},
                    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
                    {"name": "First", "type": "string", "priority": 1, "jsonPath": ".spec.list[0].name"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": SPEC,
                            "status": {
                                "type": "object",
                                "properties": {"phase": {"type": "string"}, "n": {"type": "integer"}},
                            },
                        },
                    }
                },
            }
        ],
    },
}


def widget(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "x.test/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def widgets(api: Client, namespace: str) -> str:
    if api.get(f"{CRDS}/widgets.x.test").code == 404:
        assert api.post(CRDS, CRD).code == 201
    return f"/apis/x.test/v1/namespaces/{namespace}/widgets"


def test_definition_is_established_and_discovered(api: Client, widgets: str) -> None:
    conditions = {c["type"]: c["status"] for c in api.get(f"{CRDS}/widgets.x.test")["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    resources = {entry["name"]: entry for entry in api.get("/apis/x.test/v1")["resources"]}
    assert set(resources) == {"widgets", "widgets/status", "widgets/scale"}
    assert resources["widgets"]["shortNames"] == ["wd"]
    assert resources["widgets"]["categories"] == ["all"]


REFUSED = [
    ({"n": "x"}, 'spec.n: Invalid value: "string": spec.n in body must be of type integer: "string"'),
    ({}, "spec.n: Required value"),
    ({"n": 11}, "spec.n: Invalid value: 11: spec.n in body should be less than or equal to 10"),
    ({"n": 1, "s": "A"}, "spec.s: Invalid value: \"A\": spec.s in body should match '^[a-z]+$'"),
    ({"n": 1, "e": "z"}, 'spec.e: Unsupported value: "z": supported values: "a", "b"'),
    (
        {"n": 1, "map": {"a": 1}},
        'spec.map.a: Invalid value: "integer": spec.map.a in body must be of type string: "integer"',
    ),
    ({"n": 1, "list": [{"v": 1}]}, "spec.list[0].name: Required value"),
    ({"n": 1, "list": [{"name": "a"}, {"name": "a"}]}, 'spec.list[1]: Duplicate value: {"name":"a"}'),
    ({"n": 1, "set": ["a", "a"]}, 'spec.set[1]: Duplicate value: "a"'),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED)
def test_misfit_is_refused_with_path_and_reason(api: Client, widgets: str, spec: Any, message: str) -> None:
    answer = api.post(widgets, widget("bad", **spec))
    assert (answer.code, answer["reason"]) == (422, "Invalid")
    assert message in answer["message"]
    assert answer["message"].startswith('Widget.x.test "bad" is invalid: ')
    assert message.split(":")[0] in [cause["field"] for cause in answer["details"]["causes"]]


def test_defaults_are_filled_unknown_fields_and_nulls_are_pruned(api: Client, widgets: str) -> None:
    answer = api.post(
        widgets, widget("a", n=1, nope=1, obj={}, map={"k": None}, maybe=None, free={"x": {"y": 1}}, port="http")
    )
    assert answer.code == 201
    assert answer["spec"] == {
        "n": 1,
        "e": "a",
        "obj": {"d": 5},
        "map": {},
        "maybe": None,
        "free": {"x": {"y": 1}},
        "port": "http",
    }
    assert answer.headers["Warning"] == '299 - "unknown field \\"spec.nope\\""'


def test_strict_validation_refuses_unknown_fields(api: Client, widgets: str) -> None:
    answer = api.post(f"{widgets}?fieldValidation=Strict", widget("a", n=1, nope=1))
    assert answer.code == 400
    assert 'strict decoding error: unknown field "spec.nope"' in answer["message"]


def test_status_is_written_through_its_subresource_only(api: Client, widgets: str) -> None:
    made = api.post(widgets, {**widget("a", n=1), "status": {"phase": "no"}})
    assert "status" not in made.body
    api.patch(f"{widgets}/a", {"status": {"phase": "no"}})
    answer = api.patch(f"{widgets}/a/status", {"spec": {"n": 9}, "status": {"phase": "Running"}})
    assert (answer["spec"]["n"], answer["status"]) == (1, {"phase": "Running"})
    assert answer["metadata"]["generation"] == 1
    assert api.patch(f"{widgets}/a", {"spec": {"n": 2}})["metadata"]["generation"] == 2


def test_scale_reads_and_writes_the_paths_of_the_definition(api: Client, widgets: str) -> None:
    api.post(widgets, widget("a", n=1))
    answer = api.patch(f"{widgets}/a/scale", {"spec": {"replicas": 4}})
    assert (answer["kind"], answer["spec"]["replicas"]) == ("Scale", 4)
    assert api.get(f"{widgets}/a")["spec"]["n"] == 4


def test_strategic_merge_is_not_for_custom_resources(api: Client, widgets: str) -> None:
    api.post(widgets, widget("a", n=1))
    assert api.patch(f"{widgets}/a", {"spec": {"n": 2}}, STRATEGIC).code == 415
    assert api.patch(f"{widgets}/a", {"spec": {"n": 2}}, MERGE).code == 200


def test_replacing_needs_the_version_that_is_replaced(api: Client, widgets: str) -> None:
    live = api.post(widgets, widget("a", n=1)).body
    answer = api.put(f"{widgets}/a", widget("a", n=2))
    assert (answer.code, answer["details"]["causes"][0]["field"]) == (422, "metadata.resourceVersion")
    live["spec"]["n"] = 2
    assert api.put(f"{widgets}/a", live).code == 200
    assert api.put(f"{widgets}/a", live).code == 409


def test_printer_columns_make_the_table(api: Client, widgets: str) -> None:
    api.post(widgets, widget("a", n=3, list=[{"name": "x"}]))
    table = api.get(widgets, Accept=TABLE)
    assert [(c["name"], c["priority"]) for c in table["columnDefinitions"]] == [
        ("Name", 0),
        ("N", 0),
        ("Phase", 0),
        ("First", 1),
    ]
    assert table["rows"][0]["cells"] == ["a", 3, None, "x"]


def test_removing_the_definition_removes_its_resources(api: Client, namespace: str) -> None:
    gone = {**CRD, "metadata": {"name": "gadgets.y.test"}}
    gone["spec"] = {**CRD["spec"], "group": "y.test", "names": {"plural": "gadgets", "kind": "Gadget"}}
    assert api.post(CRDS, gone).code == 201
    path = f"/apis/y.test/v1/namespaces/{namespace}/gadgets"
    made = api.post(
        path,
        {
            "apiVersion": "y.test/v1",
            "kind": "Gadget",
            "metadata": {"name": "a", "finalizers": ["x.y/z"]},
            "spec": {"n": 1},
        },
    )
    assert made.code == 201
    api.delete(f"{CRDS}/gadgets.y.test")
    assert api.get(f"{path}/a")["metadata"]["deletionTimestamp"]
    assert api.get(f"{CRDS}/gadgets.y.test").code == 200
    api.patch(f"{path}/a", {"metadata": {"finalizers": None}})
    assert api.get(path).code == 404
    assert api.get(f"{CRDS}/gadgets.y.test").code == 404


# rules in CEL

RULED: dict[str, Any] = {
    "type": "object",
    "x-kubernetes-validations": [
        {"rule": "!has(self.low) || !has(self.high) || self.low <= self.high", "message": "low is above high"}
    ],
    "properties": {
        "low": {"type": "integer"},
        "high": {"type": "integer"},
        "name": {
            "type": "string",
            "x-kubernetes-validations": [
                {"rule": "self.startsWith('a')"},
                {"rule": "self == oldSelf", "message": "cannot change"},
            ],
        },
        "kind": {"type": "string", "enum": ["x", "y"]},
    },
}


def _gauges(spec: dict[str, Any], plural: str = "gauges") -> dict[str, Any]:
    names = {"plural": plural, "kind": plural.title(), "singular": plural[:-1]}
    schema = {"type": "object", "properties": {"spec": spec}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        **CRD,
        "metadata": {"name": f"{plural}.x.test"},
        "spec": {"group": "x.test", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _gauge(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "x.test/v1", "kind": "Gauges", "metadata": {"name": "g"}, "spec": spec}


def test_rules_in_cel_are_evaluated_as_the_real_server_does(api: Client, namespace: str) -> None:
    assert api.post(CRDS, _gauges(RULED)).code == 201
    gauges = f"/apis/x.test/v1/namespaces/{namespace}/gauges"

    refused = api.post(gauges, _gauge(low=2, high=1, name="b"))
    assert refused.code == 422
    assert sorted((cause["field"], cause["message"]) for cause in refused["details"]["causes"]) == [
        ("spec", "Invalid value: low is above high"),
        ("spec.name", "Invalid value: \"b\": failed rule: self.startsWith('a')"),
    ]

    misshapen = api.post(gauges, _gauge(low=2, high=1, kind="z"))
    assert [cause["field"] for cause in misshapen["details"]["causes"]] == ["spec.kind", "<nil>"]
    assert "some validation rules were not checked" in misshapen["message"]

    assert api.post(gauges, _gauge(low=1, high=2, name="a")).code == 201
    changed = api("PATCH", f"{gauges}/g", {"spec": {"name": "ab"}}, MERGE)
    assert changed.code == 422
    assert "cannot change" in changed["message"]
    assert api("PATCH", f"{gauges}/g", {"spec": {"high": 3}}, MERGE).code == 200


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"rule": "self ="}, "compilation failed"),
        ({"rule": "isURL(self.name)"}, "isURL is not evaluated by this server"),
        ({"rule": "true", "messageExpression": "'x'"}, "messageExpression of a rule is not evaluated"),
        ({"rule": "self.a__dash__b == 1"}, "escaped names are not evaluated"),
    ],
)
def test_a_definition_with_a_rule_that_cannot_be_evaluated_is_refused(
    api: Client, rule: dict[str, str], why: str
) -> None:
    refused = api.post(CRDS, _gauges({**RULED, "x-kubernetes-validations": [rule]}, "dials"))

    assert refused.code == 422
    assert why in refused["message"]
