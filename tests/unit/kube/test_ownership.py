from typing import Any

import pytest

from howdah.kube.testing.ownership import ApplyConflict, Manager, applied, managers_of, updated

Object = dict[str, Any]


def me(name: str, operation: str = "Apply") -> Manager:
    return Manager(name, operation, "", frozenset())


def apply(live: Object, intent: Object, name: str = "howdah", *, force: bool = False) -> Object:
    return applied(live, intent, me(name), force=force, keyed=True)


def bare(obj: Object) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def obj(**parts: Any) -> Object:
    return {"metadata": {}, **parts}


def container(name: str, **parts: Any) -> Object:
    return {"name": name, **parts}


def pod(*containers: Object) -> Object:
    return obj(spec={"containers": list(containers)})


def test_field_no_longer_applied_goes() -> None:
    live = apply(obj(), obj(data={"a": "1", "b": "2"}))
    assert bare(apply(live, obj(data={"a": "1"}))) == obj(data={"a": "1"})


def test_field_of_another_manager_stays() -> None:
    live = apply(apply(obj(), obj(data={"a": "1"})), obj(data={"b": "2"}), "patroni")
    assert bare(apply(live, obj(data={}))) == obj(data={"b": "2"})


def test_shared_field_goes_with_its_last_owner() -> None:
    live = apply(apply(obj(), obj(data={"a": "1"})), obj(data={"a": "1"}), "other")
    live = apply(live, obj())
    assert bare(live) == obj(data={"a": "1"})
    assert bare(apply(live, obj(), "other")) == obj()


def test_another_value_for_another_s_field_is_a_conflict_unless_forced() -> None:
    live = apply(obj(), obj(data={"a": "1"}), "other")
    with pytest.raises(ApplyConflict) as caught:
        apply(live, obj(data={"a": "2"}))
    assert caught.value.fields == [("other", ".data.a")]
    forced = apply(live, obj(data={"a": "2"}), force=True)
    assert bare(forced) == obj(data={"a": "2"})
    assert [manager.name for manager in managers_of(forced)] == ["howdah"]


def test_containers_are_merged_by_name() -> None:
    live = apply(pod(container("injected", image="i")), pod(container("postgres", image="1", env=[])))
    live = apply(live, pod(container("postgres", image="2")))
    assert sorted(live["spec"]["containers"], key=lambda c: c["name"]) == [
        container("injected", image="i"),
        container("postgres", image="2"),
    ]


def test_item_no_longer_applied_goes_whole() -> None:
    live = apply(pod(container("injected", image="i")), pod(container("postgres", image="1", command=["x"])))
    assert bare(apply(live, pod())) == pod(container("injected", image="i"))


def test_item_in_which_another_has_a_part_stays() -> None:
    live = apply(obj(), pod(container("postgres", image="1")))
    live = apply(live, pod(container("postgres", resources={"cpu": "1"})), "tuner")
    assert bare(apply(live, pod())) == pod(container("postgres", resources={"cpu": "1"}))


def test_ports_are_keyed_by_number_and_protocol() -> None:
    live = apply(obj(), obj(spec={"ports": [{"port": 5432, "name": "a"}, {"port": 8008, "protocol": "UDP"}]}))
    live = apply(live, obj(spec={"ports": [{"port": 5432, "protocol": "TCP", "name": "b"}]}))
    assert live["spec"]["ports"] == [{"port": 5432, "protocol": "TCP", "name": "b"}]


def test_other_lists_are_atomic() -> None:
    live = apply(obj(), obj(spec={"args": ["a", "b"]}))
    assert apply(live, obj(spec={"args": ["c"]}))["spec"]["args"] == ["c"]


def test_finalizers_are_a_set() -> None:
    live = {"metadata": {"finalizers": ["theirs"]}}
    live = apply(live, {"metadata": {"finalizers": ["ours"]}})
    assert live["metadata"]["finalizers"] == ["theirs", "ours"]
    assert apply(live, obj())["metadata"]["finalizers"] == ["theirs"]


def test_update_takes_what_it_changed_from_the_applier() -> None:
    live = apply(obj(), obj(data={"a": "1", "b": "2"}))
    live = updated(live, {**live, "data": {"a": "9", "b": "2"}}, me("kubectl", "Update"), keyed=True)
    owned = {manager.name: manager.paths for manager in managers_of(live)}
    assert owned == {"howdah": {("f:data", "f:b")}, "kubectl": {("f:data", "f:a")}}


def test_fields_that_an_update_removed_have_no_owner() -> None:
    live = apply(obj(), obj(data={"a": "1", "b": "2"}))
    live = updated(live, {**live, "data": {"b": "2"}}, me("kubectl", "Update"), keyed=True)
    assert {manager.name: manager.paths for manager in managers_of(live)} == {"howdah": {("f:data", "f:b")}}


def test_managed_fields_look_as_the_api_writes_them() -> None:
    live = apply(obj(), pod(container("postgres", image="1")))
    [entry] = live["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {
        "f:spec": {"f:containers": {'k:{"name":"postgres"}': {".": {}, "f:name": {}, "f:image": {}}}}
    }
