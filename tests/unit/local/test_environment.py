"""A container's environment, command line and role, as tables."""

from typing import Any

import pytest

from howdah.local.node import environment, images
from howdah.local.node.environment import ConfigError, References
from howdah.local.node.quantities import divided, qos_class

POD = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a/b": "c"}, "annotations": {}},
    "spec": {"nodeName": "here", "serviceAccountName": "sa"},
    "status": {"podIP": "127.32.0.1", "podIPs": [{"ip": "127.32.0.1"}], "hostIP": "127.0.0.1"},
}
REFERENCES = References({"s": {"k": "secret"}}, {"c": {"X": "x", "not a name": "1"}})


@pytest.mark.parametrize(
    ("image", "role"),
    [
        ("ghcr.io/zalando/spilo-18:4.1-p2", "spilo"),
        ("ghcr.io/zalando/spilo-cdp-16:1", "spilo-cdp"),
        ("registry:5000/acid/pgbouncer:master-32", "pgbouncer"),
        ("spilo", "spilo"),
        ("spilo-17", "spilo"),
        ("x/postgres-15.3@sha256:0123", "postgres"),
        ("localhost:5000/spilo-18", "spilo"),
    ],
)
def test_role_is_the_last_word_without_version(image: str, role: str) -> None:
    assert images.role(image) == role


def test_unknown_image_lists_the_known_roles() -> None:
    assert "roles it knows: a, b" in images.unknown_image("x/y-1", ["b", "a"])


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("$(A)$(B)", "1$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $(", "$A ${A} $("),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, result: str) -> None:
    assert environment.expanded(text, {"A": "1"}) == result


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("/home/postgres/pgdata", "/d"),
        ("/home/postgres/pgdata/pgroot", "/d/pgroot"),
        ("/home/postgres/pgdata/wal/1", "/w/1"),
        ("/home/postgres/pgdata2", "/home/postgres/pgdata2"),
        ("see /home/postgres/pgdata", "see /home/postgres/pgdata"),
        ("", ""),
    ],
)
def test_longest_mount_path_at_the_beginning_is_rewritten(value: str, result: str) -> None:
    mounts = [("/home/postgres/pgdata", "/d"), ("/home/postgres/pgdata/wal", "/w")]
    assert environment.rewritten(value, mounts) == result


def env(*variables: dict[str, Any], **container: Any) -> dict[str, str]:
    return environment.container_env({"env": list(variables), **container}, POD, REFERENCES)


def ref(name: str, **origin: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": origin}


@pytest.mark.parametrize(
    ("origin", "value"),
    [
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "secret"),
        ({"configMapKeyRef": {"name": "c", "key": "X"}}, "x"),
        ({"fieldRef": {"fieldPath": "metadata.name"}}, "p"),
        ({"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}, "c"),
        ({"fieldRef": {"fieldPath": "status.podIP"}}, "127.32.0.1"),
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "here"),
    ],
)
def test_value_from(origin: dict[str, Any], value: str) -> None:
    assert env(ref("V", **origin))["V"] == value


def test_optional_reference_that_is_missing_leaves_the_variable_out() -> None:
    assert env(ref("V", secretKeyRef={"name": "none", "key": "k", "optional": True})) == {}


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"secretKeyRef": {"name": "s", "key": "none"}}, "couldn't find key none in secret s"),
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
    ],
)
def test_missing_reference_is_named(origin: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        env(ref("V", **origin))


def test_own_variables_win_over_sources_and_later_ones_see_earlier_ones() -> None:
    found = env(
        {"name": "X", "value": "own"}, {"name": "Y", "value": "$(X)"}, envFrom=[{"configMapRef": {"name": "c"}}]
    )
    assert found == {"X": "own", "Y": "own"}


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({}, ["role"]),
        ({"args": ["a"]}, ["role", "a"]),
        ({"command": ["c", "$(A)"]}, ["c", "1"]),
        ({"command": ["c"], "args": ["/m/x"]}, ["c", "/f/x"]),
    ],
)
def test_command_and_args_are_honoured(container: dict[str, Any], argv: list[str]) -> None:
    assert environment.command_line(container, ["role"], {"A": "1"}, [("/m", "/f")]) == argv


def test_every_reference_of_a_pod_is_found() -> None:
    spec = {
        "containers": [{"envFrom": [{"secretRef": {"name": "a"}}], "env": [ref("V", secretKeyRef={"name": "b"})]}],
        "initContainers": [{"env": [ref("V", configMapKeyRef={"name": "m"})]}],
        "volumes": [{"secret": {"secretName": "c"}}, {"projected": {"sources": [{"configMap": {"name": "n"}}]}}],
    }
    assert environment.referenced(spec) == ({"a", "b", "c"}, {"m", "n"})


@pytest.mark.parametrize(
    ("quantity", "divisor", "result"),
    [("1500m", "1", "2"), ("1500m", "1m", "1500"), ("1Gi", "1Mi", "1024"), ("1Gi", "0", "1073741824"), ("2", "1", "2")],
)
def test_resource_fields_are_divided_and_rounded_up(quantity: str, divisor: str, result: str) -> None:
    assert divided(quantity, divisor) == result


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], quality: str) -> None:
    assert qos_class({"containers": [{"resources": resources}]}) == quality


def test_a_program_that_an_image_needs_is_named_where_it_is_missing() -> None:
    needs = {"pgbouncer": ("no-such-program", "install it")}
    said = images.missing_program("ghcr.io/x/pgbouncer:1", needs, "/usr/bin")
    assert said == 'image "ghcr.io/x/pgbouncer:1" needs no-such-program, which is not on this machine: install it'
    assert images.missing_program("spilo-17", needs, "/usr/bin") is None
    assert images.missing_program("pgbouncer", {"pgbouncer": ("sh", "")}, "/usr/bin:/bin") is None


def test_folders_of_the_system_are_in_every_path_once() -> None:
    assert images.as_in_images("/usr/bin:/usr/sbin") == "/usr/bin:/usr/sbin:/usr/local/sbin:/sbin"


def test_services_are_found_by_variables() -> None:
    found = {"acid-a": ("127.96.0.1", 5432)}
    links = {"ACID_A_SERVICE_HOST": "127.96.0.1", "ACID_A_SERVICE_PORT": "5432"}
    assert environment.service_links(found, {}) == links
    assert environment.service_links(found, {"enableServiceLinks": False}) == {}
