"""A manifest, the operator's settings and live facts become one request: defaults, precedence, limits, and what is refused."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from howdah.core.request.identity import role_binding_name
from howdah.core.resolve import (
    LiveFacts,
    Reference,
    References,
    UnresolvedSpec,
    required_references,
    resolve,
)
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.errors import InvalidSpec
from howdah.model.names import Pause
from howdah.model.settings import Settings, settings_from_configmap

Json = dict[str, Any]


def _settings(**options: str) -> Settings:
    return settings_from_configmap({"enable_master_load_balancer": "false", **options})[0]


def _manifest(metadata: Mapping[str, Any] | None = None, **spec: Any) -> Json:
    return {
        "apiVersion": "acid.zalan.do/v1",
        "kind": "postgresql",
        "metadata": {"name": "acid-a", "namespace": "ns", "uid": "u-1", **(metadata or {})},
        "spec": {
            "teamId": "acid",
            "numberOfInstances": 2,
            "postgresql": {"version": "17"},
            "volume": {"size": "2Gi"},
            **spec,
        },
    }


def _cluster(settings: Settings | None = None, live: LiveFacts | None = None, **spec: Any) -> Cluster:
    return resolve(_manifest(**spec), settings or _settings(), References(), live or LiveFacts())


def _env(cluster: Cluster) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in cluster.postgres.body["env"]}


def _paths(error: pytest.ExceptionInfo[InvalidSpec]) -> set[str]:
    return {problem.path for problem in error.value.problems}


# --- what is refused ---------------------------------------------------------------------------------------------------


def test_every_problem_is_told_at_once_with_its_path() -> None:
    settings = _settings(
        enable_sidecars="false",
        secret_name_template="{namespace}.{username}",
        pod_service_account_definition="kind: Pod",
    )
    with pytest.raises(InvalidSpec) as error:
        _cluster(settings, teamId="a team", sidecars=[{"name": "a"}], users={"A": []}, volume={"size": "many"})
    assert _paths(error) == {
        "spec.users.A",
        "spec.volume.size",
        "configuration.kubernetes",
        "configuration.kubernetes.secret_name_template",
        "spec.sidecars",
        "spec.sidecars[0]",
        "spec.teamId",
    }


def test_of_what_stands_in_for_a_missing_name_or_team_nothing_is_said() -> None:
    settings = _settings(enable_team_id_clustername_prefix="true", secret_name_template="{namespace}.{username}")
    raw = _manifest()
    del raw["spec"]["teamId"], raw["metadata"]["name"]
    with pytest.raises(InvalidSpec) as error:
        resolve(raw, settings)
    assert _paths(error) == {"metadata.name", "spec.teamId", "configuration.kubernetes.secret_name_template"}


def test_missing_references_are_told_with_the_manifests_own_mistakes() -> None:
    with pytest.raises(UnresolvedSpec) as error:
        _cluster(_settings(pod_environment_secret="extra"), volume={"size": "many"})
    assert _paths(error) == {"spec.volume.size", "configuration.kubernetes.pod_environment_secret"}
    assert not error.value.is_otherwise_valid


@pytest.mark.parametrize(
    ("options", "spec", "path"),
    [
        ({"downscaler_annotations": "("}, {}, "configuration.kubernetes.downscaler_annotations[0]"),
        (
            {"major_version_upgrade_mode": "full", "target_major_version": "new"},
            {},
            "configuration.major_version_upgrade.target_major_version",
        ),
        ({"pod_service_account_definition": "{kind: ServiceAccount, metadata: []"}, {}, "configuration.kubernetes"),
        ({}, {"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {}}}]}, "spec.env[0]"),
        ({}, {"env": [{"name": "A", "valueFrom": "b"}]}, "spec.env[0].valueFrom"),
        ({}, {"env": [{"name": "A", "valueFrom": {"fieldRef": "b"}}]}, "spec.env[0].valueFrom"),
        (
            {},
            {"sidecars": [{"image": "i", "env": [{"name": "A", "valueFrom": 1}]}]},
            "spec.sidecars[0].env[0].valueFrom",
        ),
        (
            {},
            {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": ["x"]}},
            "spec.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        ),
    ],
)
def test_what_no_single_field_tells_is_a_problem_and_no_crash(options: dict[str, str], spec: Json, path: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        _cluster(_settings(**options), **spec)
    assert _paths(error) == {path}


def test_a_missing_reference_is_a_problem_of_its_own_kind() -> None:
    settings = _settings(pod_environment_secret="extra", pod_environment_configmap="shared")
    with pytest.raises(UnresolvedSpec) as error:
        resolve(_manifest(), settings)
    assert [reference.name for reference in error.value.missing] == ["shared", "extra"]
    assert error.value.is_otherwise_valid
    marked = References().with_placeholders(error.value.missing)
    env = _env(resolve(_manifest(), settings, marked))
    assert [name for name in env if name.startswith("<keys of")] == [
        "<keys of Secret extra in namespace ns>",
        "<keys of ConfigMap shared in namespace the operator's or ns>",
    ]


def test_references_are_looked_for_where_they_are_said_to_be_and_then_beside_the_cluster() -> None:
    settings = _settings(pod_environment_configmap="ops/shared", pod_environment_secret="extra")
    assert required_references(settings, "ns") == (
        Reference("ConfigMap", "shared", ("ops", "ns")),
        Reference("Secret", "extra", ("ns",)),
    )


def test_what_runs_already_is_not_refused_for_an_option_that_forbids_it_to_new_clusters() -> None:
    settings = _settings(enable_init_containers="false")
    with pytest.raises(InvalidSpec):
        _cluster(settings, initContainers=[{"name": "a", "image": "b"}])
    running = _cluster(settings, LiveFacts(exists=True), initContainers=[{"name": "a", "image": "b"}])
    assert running.pod.init_containers == ({"name": "a", "image": "b"},)
    assert "spec.initContainers" in {warning.path for warning in running.warnings}


@pytest.mark.parametrize(("name", "team", "fits"), [("acid-a", "acid", True), ("acid-a", "other", False)])
def test_the_team_prefix_is_asked_for_only_where_the_option_says_so(name: str, team: str, fits: bool) -> None:
    settings = _settings(enable_team_id_clustername_prefix="true")
    assert _cluster(teamId=team).team == team
    if fits:
        assert _cluster(settings, teamId=team).key.name == name
    else:
        with pytest.raises(InvalidSpec) as error:
            _cluster(settings, teamId=team)
        assert _paths(error) == {"metadata.name"}


# --- promotion ---------------------------------------------------------------------------------------------------------


HOST = {"name": "STANDBY_HOST", "value": "primary"}
OF_OPTION = Reference("ConfigMap", "pod-env", ("ns",))


@pytest.mark.parametrize(
    ("claim", "was_standby", "spec", "option", "expected"),
    [
        ("the section is gone", True, {}, {}, True),
        ("it never had one", False, {}, {}, False),
        ("it has one", True, {"standby": {"standby_host": "primary"}}, {}, False),
        ("a variable of the manifest still says so", True, {"env": [HOST]}, {}, False),
        ("a variable of the operator's options still says so", True, {}, {"STANDBY_WALE_S3_PREFIX": "s3://b"}, False),
        ("a variable without a value says nothing", True, {"env": [{**HOST, "value": ""}]}, {}, True),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cluster_is_promoted_when_its_manifest_asked_for_a_standby_and_nothing_does_any_more(
    claim: str, was_standby: bool, spec: Json, option: dict[str, str], expected: bool
) -> None:
    settings = _settings(pod_environment_configmap="ns/pod-env")
    references, live = References(config_maps={OF_OPTION: option}), LiveFacts(exists=True, was_standby=was_standby)
    found = resolve(_manifest(**spec), settings, references, live)
    assert found.is_promoted is expected, claim
    said = [str(warning) for warning in found.warnings if "makes this a standby cluster" in str(warning)]
    assert len(said) == (0 if expected or not was_standby or "standby" in spec else 1), claim


# --- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "low", "high", "expected"),
    [(2, "-1", "-1", 2), (1, "2", "-1", 2), (9, "-1", "5", 5), (3, "-1", "0", 0), (0, "1", "-1", 1), (4, "3", "3", 3)],
)
def test_instances_are_kept_within_the_operators_limits(wanted: int, low: str, high: str, expected: int) -> None:
    cluster = _cluster(_settings(min_instances=low, max_instances=high), numberOfInstances=wanted)
    assert (cluster.instances, cluster.asked_instances) == (expected, wanted)


@pytest.mark.parametrize(("said", "means"), [(None, False), ("", False), ("false", False), ("true", True)])
def test_the_password_goes_in_clear_text_only_on_a_persons_word(said: str | None, means: bool) -> None:
    annotations = {} if said is None else {names.CLEAR_TEXT_PASSWORD: said}
    manifest = _manifest({"annotations": annotations})
    assert resolve(manifest, _settings(), References(), LiveFacts()).access.sends_clear_text is means


def test_an_annotation_lifts_the_instance_limits_and_a_standby_of_one_stays_one() -> None:
    settings = _settings(min_instances="3", ignore_instance_limits_annotation_key="no-limits")
    annotated = resolve(_manifest({"annotations": {"no-limits": "true"}}), settings)
    standby = _cluster(settings, numberOfInstances=1, standby={"standby_host": "h"})
    assert (annotated.instances, standby.instances, standby.is_standby) == (2, 1, True)


@pytest.mark.parametrize(
    ("asked", "options", "expected"),
    [
        ({}, {}, {}),
        ({"limits": {"cpu": "1"}}, {}, {"limits": {"cpu": "1"}}),
        ({"requests": {"cpu": "0"}}, {"default_cpu_request": "100m"}, {"requests": {"cpu": "100m"}}),
        # a minimum makes a limit where there is none
        ({}, {"min_cpu_limit": "250m"}, {"limits": {"cpu": "250m"}}),
        # a limit below its request is lifted
        ({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, {}, {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}),
        ({"requests": {"cpu": "2"}}, {"max_cpu_request": "1500m"}, {"requests": {"cpu": "1500m"}}),
        (
            {"limits": {"memory": "1Gi"}},
            {"set_memory_request_to_limit": "true"},
            {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        ),
        ({"limits": {"hugepages-2Mi": "128Mi"}}, {}, {"limits": {"hugepages-2Mi": "128Mi"}}),
    ],
)
def test_resources_are_the_manifests_then_the_defaults_within_the_bounds(
    asked: Json, options: dict[str, str], expected: Json
) -> None:
    assert _cluster(_settings(**options), resources=asked).postgres.body["resources"] == expected


# --- environment -------------------------------------------------------------------------------------------------------


def test_no_variable_is_there_twice_and_a_clones_variables_win() -> None:
    cluster = _cluster(
        clone={"cluster": "source"},
        env=[{"name": "CLONE_PORT", "value": "1"}, {"name": "PGROOT", "value": "x"}, {"name": "A", "value": "1"}],
    )
    named = [entry["name"] for entry in cluster.postgres.body["env"]]
    assert len(named) == len(set(named))
    assert _env(cluster)["CLONE_PORT"] == "5432"
    assert _env(cluster)["A"] == "1"
    assert {w.path for w in cluster.warnings} == {"spec.env[0]", "spec.env[1]"}


def test_sources_of_variables_are_added_only_if_absent_in_any_case() -> None:
    settings = _settings(pod_environment_secret="s", pod_environment_configmap="ns/c", wal_s3_bucket="bucket")
    references = References(
        {Reference("ConfigMap", "c", ("ns",)): {"B": "map", "C": "map", "wal_s3_bucket": "map"}},
        {Reference("Secret", "s", ("ns",)): ("B", "A")},
    )
    cluster = resolve(_manifest(env=[{"name": "A", "value": "manifest"}]), settings, references)
    env = _env(cluster)
    assert env["A"] == "manifest"
    assert env["B"] == {"secretKeyRef": {"name": "s", "key": "B"}}
    assert (env["C"], env["wal_s3_bucket"], env.get("WAL_S3_BUCKET")) == ("map", "map", None)
    assert env["WAL_BUCKET_SCOPE_SUFFIX"] == "/u-1"


def test_a_field_reference_is_written_as_the_server_keeps_it() -> None:
    cluster = _cluster(env=[{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}])
    assert _env(cluster)["NODE"] == {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}


def test_a_credential_is_never_a_literal() -> None:
    clone = {
        "cluster": "source",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "s3_wal_path": "s3://b/p",
        "s3_access_key_id": "KEYID",
        "s3_secret_access_key": "HUSH",
    }
    cluster = _cluster(clone=clone)
    assert _env(cluster)["CLONE_AWS_SECRET_ACCESS_KEY"] == {
        "secretKeyRef": {"name": "acid-a-environment", "key": "CLONE_AWS_SECRET_ACCESS_KEY"}
    }
    assert cluster.environment_secret is not None
    assert cluster.environment_secret.values["CLONE_AWS_SECRET_ACCESS_KEY"] == "HUSH"
    assert "HUSH" not in repr(cluster)


# --- live facts --------------------------------------------------------------------------------------------------------


def _spilo(cluster: Cluster) -> Json:
    document: Json = json.loads(_env(cluster)["SPILO_CONFIGURATION"])
    return document


def test_a_new_cluster_has_failsafe_mode_unless_its_manifest_says_no() -> None:
    assert _spilo(_cluster())["bootstrap"]["dcs"] == {"failsafe_mode": True}
    assert _spilo(_cluster(patroni={"failsafe_mode": False}))["bootstrap"]["dcs"] == {"failsafe_mode": False}


def test_a_live_bootstrap_section_stays() -> None:
    bootstrap = {"initdb": ["x"], "dcs": {"failsafe_mode": False}}
    cluster = _cluster(live=LiveFacts(exists=True, spilo_bootstrap=bootstrap), patroni={"ttl": 99})
    assert _spilo(cluster)["bootstrap"] == bootstrap
    assert cluster.dynamic == {"ttl": 99}


def test_patronis_state_stays_where_it_is() -> None:
    cluster = _cluster(live=LiveFacts(exists=True, dcs="endpoints"))
    assert cluster.dcs == "endpoints"
    assert "KUBERNETES_USE_CONFIGMAPS" not in _env(cluster)
    assert [service.selects for service in cluster.services] == [False, True]
    assert "metadata.name" in {warning.path for warning in cluster.warnings}


@pytest.mark.parametrize(("asked", "there", "expected"), [("1Gi", "2Gi", "2Gi"), ("3Gi", "2Gi", "3Gi")])
def test_volumes_grow_and_do_not_shrink(asked: str, there: str, expected: str) -> None:
    live = {
        "metadata": {"name": "pgdata", "labels": {"old": "label"}},
        "spec": {"resources": {"requests": {"storage": there}}, "storageClassName": "fast"},
    }
    cluster = _cluster(live=LiveFacts(exists=True, claim_template=live), volume={"size": asked})
    template = cluster.volume.claim_template
    assert template["spec"]["resources"]["requests"]["storage"] == expected
    assert template["spec"]["storageClassName"] == "fast"
    assert template["metadata"]["labels"] == {"old": "label"}
    assert ("spec.volume.size" in {w.path for w in cluster.warnings}) is (asked < there)


# --- the live Patroni configuration ------------------------------------------------------------------------------------


def test_only_what_the_manifest_speaks_of_is_asked_of_the_live_configuration() -> None:
    assert _cluster().dynamic == {}
    cluster = _cluster(
        patroni={"ttl": 0, "synchronous_mode": False, "loop_wait": 5, "pg_hba": ["local all all trust"]},
        postgresql={"version": "17", "parameters": {"work_mem": "8MB", "shared_buffers": "1GB"}},
    )
    assert cluster.dynamic == {
        "loop_wait": 5,
        "synchronous_mode": False,
        "postgresql": {"parameters": {"work_mem": "8MB"}},
    }
    assert cluster.spilo["postgresql"] == {
        "parameters": {"shared_buffers": "1GB"},
        "pg_hba": ["local all all trust"],
    }


# --- what is written on objects ----------------------------------------------------------------------------------------


def test_the_resource_becomes_the_only_controller_of_its_objects() -> None:
    owner = {"apiVersion": "v1", "kind": "Thing", "name": "t", "uid": "u-0", "controller": True}
    raw = _manifest({"ownerReferences": [owner]})
    plain = resolve(raw, _settings()).owner_references
    owned = resolve(raw, _settings(enable_owner_references="true")).owner_references
    assert plain == (owner,)
    assert [reference.get("controller") for reference in owned] == [None, True]
    assert owned[1]["uid"] == "u-1"


def test_secrets_in_another_namespace_have_no_owner() -> None:
    settings = _settings(enable_owner_references="true", enable_cross_namespace_secret="true")
    cluster = _cluster(settings, users={"apps.reader": [], "writer": []})
    found = {request.username: (request.namespace, bool(request.owner_references)) for request in cluster.secrets}
    assert found["apps.reader"] == ("apps", False)
    assert found["writer"] == ("ns", True)


def test_secrets_of_system_roles_are_told_apart() -> None:
    roles = {request.username: request.role for request in _cluster(users={"app": []}).secrets}
    assert roles == {"postgres": "superuser", "standby": "replication", "app": "user"}


def test_node_readiness_narrows_or_adds_to_the_manifests_terms() -> None:
    term = {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["db"]}], "matchFields": [{"key": "f"}]}
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    ready = {"key": "ready", "operator": "In", "values": ["yes"]}

    def terms(merge: str) -> list[Json]:
        settings = _settings(node_readiness_label="ready:yes", node_readiness_label_merge=merge)
        found = _cluster(settings, nodeAffinity=affinity).pod.affinity["nodeAffinity"]
        return list(found["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"])

    assert terms("OR") == [term, {"matchExpressions": [ready]}]
    assert terms("AND") == [{**term, "matchExpressions": [*term["matchExpressions"], ready]}]


def test_a_volume_whose_path_is_taken_is_left_out_with_its_mount() -> None:
    volumes = [
        {"name": "one", "mountPath": "/x", "volumeSource": {"emptyDir": {}}},
        {"name": "two", "mountPath": "/x", "targetContainers": ["postgres"], "volumeSource": {"emptyDir": {}}},
        {"name": "all", "mountPath": "/y", "targetContainers": ["all", "postgres"], "volumeSource": {"emptyDir": {}}},
    ]
    cluster = _cluster(additionalVolumes=volumes)
    assert [volume["name"] for volume in cluster.pod.volumes] == ["dshm", "one", "all"]
    assert [mount["name"] for mount in cluster.postgres.body["volumeMounts"]] == ["pgdata", "dshm", "one", "all"]


def test_an_undefaulted_probe_is_written_as_the_server_keeps_it() -> None:
    cluster = _cluster(livenessProbe={"httpGet": {"path": "/liveness", "port": 8008}})
    assert cluster.postgres.body["livenessProbe"] == {
        "httpGet": {"path": "/liveness", "port": 8008, "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [({}, Pause.NONE), ({"howdah.dev/pause": "disruptive"}, Pause.DISRUPTIVE), ({"howdah.dev/pause": "al"}, Pause.ALL)],
)
def test_an_unknown_pause_holds_everything(written: dict[str, str], expected: Pause) -> None:
    assert resolve(_manifest({"annotations": written}), _settings()).pause is expected


def test_resolving_twice_gives_the_same_request() -> None:
    assert _cluster(users={"b": [], "a": []}) == _cluster(users={"a": [], "b": []})


def test_the_role_binding_is_called_as_its_definition_says() -> None:
    definition = "kind: RoleBinding\nmetadata: {name: other}"
    assert role_binding_name(_settings()) == "postgres-pod"
    assert role_binding_name(_settings(pod_service_account_role_binding_definition=definition)) == "other"
    assert role_binding_name(_settings(pod_service_account_role_binding_definition="{")) == "postgres-pod"


@pytest.mark.parametrize(
    ("volume", "path", "why"),
    [
        ({"name": "dshm", "mountPath": "/x"}, "name", "another volume of the pod"),
        ({"name": "pgdata", "mountPath": "/x"}, "name", "another volume of the pod"),
        ({"name": "certificate", "mountPath": "/x"}, "name", "another volume of the pod"),
        ({"name": "v", "mountPath": "/dev/shm"}, "mountPath", "taken by another volume"),
    ],
)
def test_a_volume_with_the_name_or_place_of_one_of_the_pod_is_refused(volume: Json, path: str, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why) as caught:
        _cluster(additionalVolumes=[{**volume, "volumeSource": {"emptyDir": {}}}], tls={"secretName": "certificate"})

    assert [problem.path for problem in caught.value.problems] == [f"spec.additionalVolumes[0].{path}"]


def test_one_secret_with_certificate_and_authority_is_one_volume_with_two_mounts() -> None:
    cluster = _cluster(tls={"secretName": "c", "caSecretName": "c", "caFile": "ca.crt"})

    assert [volume["name"] for volume in cluster.pod.volumes].count("c") == 1
    mounts = [mount["mountPath"] for mount in cluster.postgres.body["volumeMounts"] if mount["name"] == "c"]
    assert mounts == ["/tls", "/tlsca"]
