"""Ordinary reading and writing: versions, patches, selectors, lists, deletion."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.apiserver.client import JSON_PATCH, STRATEGIC, TABLE, Client, config_map, pod

BUDGETS = "/apis/policy/v1/namespaces/{}/poddisruptionbudgets"


def test_create_stamps_and_a_second_create_is_refused(api: Client, core: str) -> None:
    made = api.post(f"{core}/configmaps", config_map("a", {"k": "v"}))
    assert made.code == 201
    assert {"uid", "resourceVersion", "creationTimestamp", "managedFields"} <= set(made["metadata"])
    again = api.post(f"{core}/configmaps", config_map("a"))
    assert (again.code, again["reason"], again["message"]) == (409, "AlreadyExists", 'configmaps "a" already exists')


def test_generated_names_differ(api: Client, core: str) -> None:
    body = {"metadata": {"generateName": "x-"}}
    names = {api.post(f"{core}/configmaps", body)["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


def test_missing_things_are_404_and_say_which(api: Client, core: str) -> None:
    assert api.get(f"{core}/pods/none")["message"] == 'pods "none" not found'
    answer = api.post("/api/v1/namespaces/none/configmaps", config_map("a"))
    assert (answer.code, answer["message"]) == (404, 'namespaces "none" not found')
    assert api.get("/apis/nowhere.io/v1/things").code == 404


def test_a_deletions_body_is_all_that_counts(api: Client, core: str) -> None:
    """As the real server reads options: a dry run asked for beside a body is none."""
    api.post(f"{core}/configmaps", config_map("a"))
    path = f"{core}/configmaps/a"
    assert api.delete(f"{path}?dryRun=All").code == 200
    assert api.delete(path, {"dryRun": ["All"]}).code == 200
    assert api.get(path).code == 200
    assert api.delete(f"{path}?dryRun=All", {"propagationPolicy": "Background"}).code == 200
    assert api.get(path).code == 404


def test_a_limit_below_none_is_none(api: Client, core: str) -> None:
    for name in ("a", "b"):
        api.post(f"{core}/configmaps", config_map(name))
    page = api.get(f"{core}/configmaps?limit=-1&fieldSelector=metadata.name%3Da")
    assert [item["metadata"]["name"] for item in page["items"]] == ["a"]
    assert "continue" not in page["metadata"] or page["metadata"]["continue"] == ""


def test_version_in_a_patch_is_a_lock(api: Client, core: str) -> None:
    path = f"{core}/endpoints"
    old = api.post(path, {"kind": "Endpoints", "apiVersion": "v1", "metadata": {"name": "e"}}).version
    lock = {"metadata": {"resourceVersion": old, "annotations": {"leader": "a"}}}
    assert api.patch(f"{path}/e", lock, STRATEGIC).code == 200
    second = api.patch(f"{path}/e", lock, STRATEGIC)
    assert (second.code, second["reason"]) == (409, "Conflict")
    assert "the object has been modified" in second["message"]


def test_patroni_patches_annotations_and_replaces_subsets(api: Client, core: str) -> None:
    path = f"{core}/endpoints/e"
    subset = {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"name": "postgresql", "port": 5432}]}
    api.post(f"{core}/endpoints", {"metadata": {"name": "e", "annotations": {"a": "1", "b": "2"}}, "subsets": [subset]})
    moved = {**subset, "addresses": [{"ip": "127.0.0.2"}]}
    answer = api.patch(path, {"metadata": {"annotations": {"a": None, "c": "3"}}, "subsets": [moved]}, STRATEGIC)
    assert answer["metadata"]["annotations"] == {"b": "2", "c": "3"}
    assert [a["ip"] for s in answer["subsets"] for a in s["addresses"]] == ["127.0.0.2"]


def test_write_that_changes_nothing_keeps_the_version(api: Client, core: str) -> None:
    made = api.post(f"{core}/configmaps", config_map("a", {"k": "v"}))
    same = api.patch(f"{core}/configmaps/a", {"data": {"k": "v"}})
    assert (same.code, same.version) == (200, made.version)


def test_json_patch_applies_in_order_and_a_failed_test_changes_nothing(api: Client, core: str) -> None:
    path = f"{core}/configmaps/a"
    api.post(f"{core}/configmaps", config_map("a", {"k": "v"}))
    wrong = [{"op": "remove", "path": "/data/k"}, {"op": "test", "path": "/data/k", "value": "z"}]
    assert api.patch(path, wrong, JSON_PATCH).code == 422
    right = [{"op": "test", "path": "/data/k", "value": "v"}, {"op": "add", "path": "/data/n", "value": "1"}]
    assert api.patch(path, right, JSON_PATCH)["data"] == {"k": "v", "n": "1"}


def test_dry_run_answers_and_stores_nothing(api: Client, core: str) -> None:
    path = f"{core}/configmaps"
    assert api.post(f"{path}?dryRun=All", config_map("dry")).code == 201
    assert api.get(f"{path}/dry").code == 404
    live = api.post(path, config_map("a", {"k": "v"}))
    assert api.patch(f"{path}/a?dryRun=All", {"data": {"k": "2"}})["data"] == {"k": "2"}
    assert api.delete(f"{path}/a?dryRun=All").code == 200
    assert api.get(f"{path}/a").version == live.version


SELECTED = [
    ("app=x", {"a", "b"}),
    ("app==x,role=leader", {"a"}),
    ("role!=leader", {"b", "c"}),
    ("role in (leader,replica)", {"a", "b"}),
    ("role notin (leader)", {"b", "c"}),
    ("role", {"a", "b"}),
    ("!role", {"c"}),
    ("n>1", {"b"}),
]


@pytest.mark.parametrize(("selector", "names"), SELECTED)
def test_label_selectors_choose(api: Client, core: str, selector: str, names: set[str]) -> None:
    for name, labels in (
        ("a", {"app": "x", "role": "leader", "n": "1"}),
        ("b", {"app": "x", "role": "replica", "n": "2"}),
        ("c", {"app": "y"}),
    ):
        api.post(f"{core}/configmaps", config_map(name, labels=labels))
    quoted = selector.replace(" ", "%20").replace(">", "%3E")
    found = api.get(f"{core}/configmaps?labelSelector={quoted}")
    assert {item["metadata"]["name"] for item in found["items"]} == names


def test_field_selectors_choose_and_unknown_ones_are_refused(api: Client, core: str) -> None:
    api.post(f"{core}/pods", pod("a", node="n1"))
    api.post(f"{core}/pods", pod("b"))

    def names(selector: str) -> list[str]:
        return [item["metadata"]["name"] for item in api.get(f"{core}/pods?fieldSelector={selector}")["items"]]

    assert names("spec.nodeName=n1") == ["a"]
    assert names("spec.nodeName!=n1,status.phase=Pending") == ["b"]
    assert names("metadata.name=b") == ["b"]
    assert api.get(f"{core}/pods?fieldSelector=spec.x=1").code == 400


def test_pages_go_on_where_they_ended(api: Client, core: str) -> None:
    for name in "abcde":
        api.post(f"{core}/configmaps", config_map(name))
    seen, token = [], ""
    while True:
        page = api.get(f"{core}/configmaps?limit=2&continue={token}")
        seen += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert seen == list("abcde")


def test_list_items_of_builtin_kinds_do_not_repeat_their_type(api: Client, core: str) -> None:
    api.post(f"{core}/configmaps", config_map("a"))
    item = api.get(f"{core}/configmaps")["items"][0]
    assert "kind" not in item
    assert item["metadata"]["name"] == "a"


def test_preconditions_guard_a_deletion(api: Client, core: str) -> None:
    made = api.post(f"{core}/configmaps", config_map("a"))
    path = f"{core}/configmaps/a"
    assert api.delete(path, {"preconditions": {"uid": "other"}}).code == 409
    assert api.delete(path, {"preconditions": {"resourceVersion": "1"}}).code == 409
    assert api.delete(path, {"preconditions": {"uid": made["metadata"]["uid"]}}).code == 200
    assert api.get(path).code == 404


def test_finalizers_hold_an_object_until_they_are_gone(api: Client, core: str) -> None:
    path = f"{core}/configmaps/a"
    api.post(f"{core}/configmaps", config_map("a", finalizers=["a.b/c"]))
    assert api.delete(path)["metadata"]["deletionTimestamp"]
    assert api.get(path).code == 200
    refused = api.patch(path, {"metadata": {"finalizers": ["a.b/c", "d.e/f"]}})
    assert (refused.code, refused["details"]["causes"][0]["field"]) == (422, "metadata.finalizers")
    assert api.patch(path, {"metadata": {"finalizers": None}}).code == 200
    assert api.get(path).code == 404


@pytest.mark.parametrize(("policy", "finalizers"), [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])])
def test_propagation_is_asked_by_finalizers(api: Client, core: str, policy: str, finalizers: list[str]) -> None:
    api.post(f"{core}/configmaps", config_map("a"))
    answer = api.delete(f"{core}/configmaps/a", {"propagationPolicy": policy})
    assert answer["metadata"]["finalizers"] == finalizers


def test_pod_on_a_node_is_only_marked_until_the_node_removes_it(api: Client, core: str) -> None:
    path = f"{core}/pods/p"
    api.post(f"{core}/pods", pod("p", node="n1"))
    marked = api.delete(path, {"gracePeriodSeconds": 20})
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    assert api.get(path).code == 200
    assert api.delete(f"{path}?gracePeriodSeconds=0").code == 200
    assert api.get(path).code == 404


def test_pod_without_a_node_is_removed_at_once(api: Client, core: str) -> None:
    api.post(f"{core}/pods", pod("p"))
    assert api.delete(f"{core}/pods/p").code == 200
    assert api.get(f"{core}/pods/p").code == 404


def test_collection_is_deleted_by_selector(api: Client, core: str) -> None:
    for name, app in (("a", "x"), ("b", "x"), ("c", "y")):
        api.post(f"{core}/configmaps", config_map(name, labels={"app": app}))
    gone = api.delete(f"{core}/configmaps?labelSelector=app=x")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "b"]
    assert [item["metadata"]["name"] for item in api.get(f"{core}/configmaps")["items"]] == ["c"]


def test_deleted_namespace_empties_and_takes_nothing_new(api: Client, core: str, namespace: str) -> None:
    api.post(f"{core}/configmaps", config_map("held", finalizers=["a.b/c"]))
    api.post(f"{core}/configmaps", config_map("free"))
    assert api.delete(f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Terminating"
    assert api.get(f"{core}/configmaps/free").code == 404
    refused = api.post(f"{core}/configmaps", config_map("late"))
    assert (refused.code, refused["reason"]) == (403, "Forbidden")
    api.patch(f"{core}/configmaps/held", {"metadata": {"finalizers": None}})
    assert api.get(f"/api/v1/namespaces/{namespace}").code == 404


def test_eviction_respects_the_disruption_budget(api: Client, core: str, namespace: str) -> None:
    budget: Any = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}
    api.post(BUDGETS.format(namespace), budget)
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    for name in ("p", "q"):
        api.post(f"{core}/pods", pod(name, labels={"a": "b"}))
        api.patch(f"{core}/pods/{name}/status", ready, STRATEGIC)
    assert api.post(f"{core}/pods/p/eviction", {"metadata": {"name": "p"}}).code == 201
    refused = api.post(f"{core}/pods/q/eviction", {"metadata": {"name": "q"}})
    assert (refused.code, refused["details"]["causes"][0]["reason"]) == (429, "DisruptionBudget")


def test_eviction_counts_a_pod_that_is_missing(api: Client, core: str, namespace: str) -> None:
    """As the budget's status does: two of three are left, and one may be away."""
    selector = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("p")["spec"]}
    body = {"metadata": {"name": "s"}, "spec": {"replicas": 3, "selector": selector, "template": template}}
    owner = api.post(f"/apis/apps/v1/namespaces/{namespace}/statefulsets", body)
    api.post(
        BUDGETS.format(namespace), {"metadata": {"name": "b"}, "spec": {"maxUnavailable": 1, "selector": selector}}
    )
    said = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": owner["metadata"]["uid"]}
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    for name in ("s-0", "s-1", "s-2"):
        api.post(f"{core}/pods", pod(name, labels={"a": "b"}, ownerReferences=[{**said, "controller": True}]))
        api.patch(f"{core}/pods/{name}/status", ready, STRATEGIC)
    assert api.post(f"{core}/pods/s-2/eviction", {"metadata": {"name": "s-2"}}).code == 201
    refused = api.post(f"{core}/pods/s-1/eviction", {"metadata": {"name": "s-1"}})
    assert refused.code == 429
    (cause,) = refused["details"]["causes"]
    assert cause["message"] == "The disruption budget b needs 2 healthy pods and has 2 currently"


def test_services_get_distinct_addresses_and_headless_ones_none(api: Client, core: str) -> None:
    addresses = set()
    for name in ("a", "b"):
        body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 5432}], "selector": {"x": "y"}}}
        addresses.add(api.post(f"{core}/services", body)["spec"]["clusterIP"])
    assert len(addresses) == 2
    assert all(address.startswith("127.96.") for address in addresses)
    headless = {"metadata": {"name": "c"}, "spec": {"clusterIP": "None"}}
    assert api.post(f"{core}/services", headless)["spec"]["clusterIPs"] == ["None"]
    assert api.patch(f"{core}/services/a", {"spec": {"clusterIP": "127.96.9.9"}}).code == 422


@pytest.mark.parametrize("finalizers", [[], ["x.dev/held"]])
def test_service_takes_the_endpoints_of_its_name_along(api: Client, core: str, finalizers: list[str]) -> None:
    """As the real server does it, whoever wrote them: Patroni's, too."""
    for name in ("s", "other"):
        api.post(f"{core}/endpoints", {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name}})
    metadata = {"name": "s", "finalizers": finalizers}
    spec = {"clusterIP": "None", "ports": [{"port": 1}]}
    api.post(f"{core}/services", {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    api.delete(f"{core}/services/s?dryRun=All")
    assert api.get(f"{core}/endpoints/s").code == 200
    api.delete(f"{core}/services/s")
    if finalizers:
        assert api.get(f"{core}/endpoints/s").code == 200
        api.patch(f"{core}/services/s", {"metadata": {"finalizers": None}})
    assert api.get(f"{core}/endpoints/s").code == 404
    assert api.get(f"{core}/endpoints/other").code == 200


@pytest.mark.parametrize("query", ["", "?watch=1&timeoutSeconds=1"])
def test_lists_and_watches_carry_the_warnings_of_their_kind(api: Client, core: str, query: str) -> None:
    answer = api.get(f"{core}/endpoints{query}")
    assert "deprecated" in answer.headers["Warning"]


@pytest.mark.parametrize("option", ["gracePeriodSeconds", "timeoutSeconds"])
def test_number_that_is_none_is_a_bad_request(api: Client, core: str, option: str) -> None:
    method, path = ("GET", "configmaps") if option == "timeoutSeconds" else ("DELETE", "configmaps/a")
    api.post(f"{core}/configmaps", config_map("a"))
    answer = api(method, f"{core}/{path}?{option}=nonsense")
    assert (answer.code, answer["message"]) == (400, 'strconv.ParseInt: parsing "nonsense": invalid syntax')


def test_scale_table_shows_what_is_wanted_and_what_is_there(api: Client, namespace: str) -> None:
    sets = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    spec = {"serviceName": "s", "replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    api.post(sets, {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "st"}, "spec": spec})
    api.patch(f"{sets}/st/status", {"status": {"replicas": 1}})
    table = api.get(f"{sets}/st/scale", Accept=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table["rows"][0]["cells"][:3] == ["st", 2, 1]


def test_pod_table_shows_what_kubectl_shows(api: Client, core: str) -> None:
    api.post(f"{core}/pods", pod("p"))
    status = {
        "status": {
            "phase": "Running",
            "podIP": "127.1.0.1",
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": False,
                    "restartCount": 2,
                    "image": "i",
                    "imageID": "",
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                }
            ],
        }
    }
    api.patch(f"{core}/pods/p/status", status, STRATEGIC)
    table = api.get(f"{core}/pods", Accept=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]][:5] == [
        "Name",
        "Ready",
        "Status",
        "Restarts",
        "Age",
    ]
    assert table["rows"][0]["cells"][:4] == ["p", "0/1", "CrashLoopBackOff", "2"]
    assert table["rows"][0]["cells"][5] == "127.1.0.1"


REFUSED = [
    ("configmaps", {"metadata": {"name": "A_"}}, "metadata.name"),
    ("configmaps", {"metadata": {"name": "a", "labels": {"x": "-"}}}, "metadata.labels"),
    ("services", {"metadata": {"name": "a"}, "spec": {"ports": []}}, "spec.ports"),
    ("pods", {"metadata": {"name": "a"}, "spec": {"containers": []}}, "spec.containers"),
]


@pytest.mark.parametrize(("resource", "body", "field"), REFUSED)
def test_invalid_objects_are_refused_with_the_field(
    api: Client, core: str, resource: str, body: dict[str, Any], field: str
) -> None:
    answer = api.post(f"{core}/{resource}", body)
    assert (answer.code, answer["reason"]) == (422, "Invalid")
    assert answer["details"]["causes"][0]["field"] == field


def test_wrong_types_and_formats_are_bad_requests(api: Client, core: str) -> None:
    answer = api.post(f"{core}/configmaps", {"metadata": {"name": "a"}, "data": {"a": 1}})
    assert answer.code == 400
    assert "cannot unmarshal number into Go struct field ConfigMap.data of type string" in answer["message"]
    assert api("POST", f"{core}/configmaps", b"x", "application/msword").code == 415
    assert api.get(f"{core}/configmaps", Accept="text/html").code == 406


def test_yaml_bodies_are_read(api: Client, core: str) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-yaml}\ndata: {when: '2026-01-01'}\n"
    assert api("POST", f"{core}/configmaps", text, "application/yaml")["data"] == {"when": "2026-01-01"}
