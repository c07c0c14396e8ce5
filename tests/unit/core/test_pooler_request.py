"""What a manifest and the operator's settings say of poolers; fields as recorded are in `tests/compat`."""

from typing import Any

import pytest

from howdah.core.request.asked import LiveFacts, References
from howdah.core.resolve import resolve, roles_and_databases
from howdah.model import names
from howdah.model.cluster import Cluster, Pooler
from howdah.model.errors import InvalidSpec
from howdah.model.settings import settings_from_configmap
from unit.core.clusters import cluster, manifest

ON = {"enableConnectionPooler": True}
REPLICAS = {"enableReplicaConnectionPooler": True}
BOTH = {**ON, **REPLICAS}


def of(**section: Any) -> Cluster:
    return cluster(**ON, connectionPooler=section)


def only(found: Cluster) -> Pooler:
    (pooler,) = found.poolers
    return pooler


def env(pooler: Pooler) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in pooler.pod.containers[0].body["env"]}


@pytest.mark.parametrize(
    ("spec", "roles"),
    [
        ({}, []),
        (ON, ["master"]),
        ({"connectionPooler": {}}, ["master"]),
        ({"connectionPooler": {}, "enableConnectionPooler": False}, []),
        ({"enableReplicaConnectionPooler": True}, ["replica"]),
        ({"connectionPooler": {}, "enableReplicaConnectionPooler": True}, ["master", "replica"]),
    ],
)
def test_which_poolers_are_asked_for(spec: dict[str, Any], roles: list[str]) -> None:
    found = cluster(**spec)
    assert [pooler.role for pooler in found.poolers] == roles
    assert (found.access.lookup is not None) == bool(roles)


def test_the_manifest_wins_over_the_operators_options() -> None:
    options = {
        "connection_pooler_mode": "session",
        "connection_pooler_number_of_instances": "4",
        "connection_pooler_max_db_connections": "80",
        "connection_pooler_image": "img",
    }
    defaults = only(cluster(settings=options, **ON))
    assert (defaults.replicas, env(defaults)["CONNECTION_POOLER_MODE"]) == (4, "session")
    assert env(defaults)["CONNECTION_POOLER_MAX_DB_CONN"] == "20"
    section = {"numberOfInstances": 1, "mode": "transaction", "maxDBConnections": 10, "dockerImage": "own"}
    own = only(cluster(settings=options, **ON, connectionPooler=section))
    assert (own.replicas, env(own)["CONNECTION_POOLER_MODE"]) == (1, "transaction")
    assert env(own)["CONNECTION_POOLER_MAX_DB_CONN"] == "10"
    assert own.pod.containers[0].body["image"] == "own"


@pytest.mark.parametrize("user", ["postgres", "standby", "admin", "cron_admin"])
def test_a_role_with_other_duties_is_not_taken_and_the_own_one_is_used_everywhere(user: str) -> None:
    found = of(user=user)
    assert [str(warning.path) for warning in found.warnings] == ["spec.connectionPooler.user"]
    assert found.access.lookup is not None
    assert found.access.lookup.user == "pooler"
    assert env(only(found))["PGUSER"]["secretKeyRef"]["name"].startswith("pooler.")
    assert "pooler" in {request.username for request in found.secrets}


def test_a_schema_is_what_postgresql_makes_of_it_without_quotes() -> None:
    found = of(schema="Pools")
    assert found.access.lookup is not None
    assert found.access.lookup.schema == "pools"
    assert env(only(found))["PGSCHEMA"] == "Pools"  # as the image's contract has it


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"schema": "a-b"}, "spec.connectionPooler.schema"),
        ({"schema": "pg_pool"}, "spec.connectionPooler.schema"),
        ({"user": "Pool"}, "spec.connectionPooler.user"),
        ({"user": "pg_pooler"}, "spec.connectionPooler.user"),
    ],
)
def test_names_that_the_server_would_not_take_are_mistakes(section: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        of(**section)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_too_few_connections_for_the_pods_are_told() -> None:
    assert "fewer than 2" in str(of(numberOfInstances=3, maxDBConnections=4).warnings)
    assert of(numberOfInstances=3, maxDBConnections=6).warnings == ()


def test_a_user_of_the_manifest_with_the_poolers_name_is_left_out_with_a_warning() -> None:
    found = cluster(**ON, users={"pooler": ["superuser"]})
    roles = {role.name: role for role in roles_and_databases(found.access, found.names).roles}
    assert roles["pooler"].flags.superuser is None
    assert "is a role of the connection pooler" in str(found.warnings)


def test_only_a_role_named_pooler_has_its_secret_among_the_poolers_objects() -> None:
    def labels(found: Cluster, user: str) -> Any:
        return next(request.labels for request in found.secrets if request.username == user)

    assert labels(cluster(**BOTH), "pooler")[names.POOLER_LABEL] == "acid-a-pooler"
    assert names.POOLER_LABEL not in labels(of(user="other"), "other")
    assert names.POOLER_LABEL not in labels(cluster(users={"pooler": []}), "pooler")


def test_a_changed_password_dates_the_pods_template_and_nothing_else_does() -> None:
    settings = settings_from_configmap({})[0]
    changed = {"acid-a-pooler-u": "2026-01-01T00:00:00Z", "other": "2026-02-02T00:00:00Z"}
    raw = manifest(**BOTH)
    found = resolve(raw, settings, References(), LiveFacts(exists=True, users_changed=changed))
    assert [pooler.pod_annotations for pooler in found.poolers] == [{names.USERS_CHANGED: "2026-01-01T00:00:00Z"}, {}]


@pytest.mark.parametrize(
    ("spec", "gone"),
    [
        (BOTH, []),
        (ON, ["Service acid-a-pooler-repl", "Deployment acid-a-pooler-repl", "Secret acid-a-pooler-repl-u"]),
        (REPLICAS, ["Service acid-a-pooler", "Deployment acid-a-pooler", "Secret acid-a-pooler-u"]),
    ],
)
def test_what_a_pooler_that_is_not_asked_for_leaves(spec: dict[str, Any], gone: list[str]) -> None:
    assert [f"{kind} {name}" for kind, name in cluster(**spec).unwanted_poolers] == gone


def test_without_any_pooler_its_roles_secret_goes_too_unless_another_role_has_it() -> None:
    def secrets(**spec: Any) -> list[str]:
        return [name.partition(".")[0] for kind, name in cluster(**spec).unwanted_poolers if kind == "Secret"]

    off = {"enableConnectionPooler": False, "connectionPooler": {"user": "other"}}
    assert secrets(**off) == ["other", "pooler", "acid-a-pooler-u", "acid-a-pooler-repl-u"]
    assert secrets(users={"pooler": []}) == ["acid-a-pooler-u", "acid-a-pooler-repl-u"]


@pytest.mark.parametrize(
    ("length", "switch", "path"),
    [
        (56, "enableConnectionPooler", None),
        (57, "enableConnectionPooler", "spec.enableConnectionPooler"),
        (52, "enableReplicaConnectionPooler", "spec.enableReplicaConnectionPooler"),
    ],
)
def test_a_pooler_whose_name_is_too_long_for_a_label_is_refused(length: int, switch: str, path: str | None) -> None:
    raw = manifest(**{"enableConnectionPooler": False, switch: True})
    raw["metadata"]["name"] = "acid-" + "a" * (length - 5)
    if path is None:
        assert resolve(raw, settings_from_configmap({})[0]).poolers
        return
    with pytest.raises(InvalidSpec) as caught:
        resolve(raw, settings_from_configmap({})[0])
    assert [problem.path for problem in caught.value.problems] == [path]
