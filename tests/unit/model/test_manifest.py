"""A manifest is refused with every problem at once, each with path and hint; what is only odd warns."""

# ruff: noqa: E501  # a case is a line

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah.model.errors import InvalidSpec, Problem
from howdah.model.manifest import dump_manifest, parse_manifest
from howdah.model.units import PgVersion, Quantity

SMALL: dict[str, Any] = {
    "apiVersion": "acid.zalan.do/v1",
    "kind": "postgresql",
    "metadata": {"name": "acid-small"},
    "spec": {
        "teamId": "acid",
        "numberOfInstances": 1,
        "volume": {"size": "1Gi"},
        "postgresql": {"version": "18"},
    },
}


def manifest(**spec: Any) -> dict[str, Any]:
    return {**SMALL, "spec": {**SMALL["spec"], **spec}}


def problems(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidSpec) as refused:
        parse_manifest(raw)
    return [str(problem) for problem in refused.value.problems]


def warnings(**spec: Any) -> list[str]:
    return [str(warning) for warning in parse_manifest(manifest(**spec)).warnings]


def test_what_is_absent_stays_absent() -> None:
    parsed = parse_manifest(SMALL)

    assert not parsed.warnings
    assert parsed.manifest.spec.postgresql.version == PgVersion(18)
    assert parsed.manifest.spec.volume.size == Quantity.parse("1Gi")
    assert parsed.manifest.spec.users is None
    assert parsed.manifest.spec.enable_shm_volume is None
    assert parsed.manifest.spec.patroni is None


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"volume": {"size": "10GB"}}, 'spec.volume.size: "10GB" is not a quantity; write 10G or 10Gi'),
        ({"volume": {"size": "0"}}, 'spec.volume.size: "0" holds nothing; write 10G or 10Gi'),
        ({"volume": {"size": 10}}, 'spec.volume.size: 10 is not a size; write "10" in quotes'),
        ({"volume": {}}, "spec.volume.size: is missing; add it"),
        ({"postgresql": {"version": 18}}, 'spec.postgresql.version: 18 is not a major version; write "18" in quotes'),
        ({"postgresql": {"version": "18.1"}}, 'spec.postgresql.version: "18.1" is not a major version; write it as "18"'),
        ({"postgresql": {"version": "18", "parameters": {"max_connections": 10}}}, 'spec.postgresql.parameters.max_connections: 10 is not a string; write it in quotes: "10"'),
        ({"postgresql": {"version": "18", "parameters": {"a b": "1"}}}, 'spec.postgresql.parameters.a b: "a b" is not a parameter; write a parameter\'s name, such as shared_buffers'),
        ({"numberOfInstances": -1}, "spec.numberOfInstances: -1 is too small; write 0 or more"),
        ({"numberOfInstances": "2"}, 'spec.numberOfInstances: "2" is not an integer; write digits without quotes'),
        ({"numberOfInstances": True}, "spec.numberOfInstances: true is not an integer; write digits without quotes"),
        ({"enableShmVolume": "yes"}, 'spec.enableShmVolume: "yes" is not a boolean; write true or false without quotes'),
        ({"env": 5}, "spec.env: 5 is not a list; write a YAML list"),
        ({"env": [{"value": "x"}]}, "spec.env[0]: has no name; add it"),
        ({"env": [{"name": "A", "value": 1}]}, 'spec.env[0]: has a value that is not a string; write it in quotes: "1"'),
        ({"sidecars": [{"ports": [{"name": "x"}]}]}, "spec.sidecars[0].ports[0]: has no containerPort; add it"),
        ({"users": {"App": []}}, 'spec.users.App: "App" cannot name a role; use lower-case letters and digits, with - _ . between them'),
        ({"users": {"app": ["login", "NOLOGIN"]}}, "spec.users.app: has login and nologin; remove one of them"),
        ({"users": {"ns.app": ["Superuser"]}}, 'spec.users[ns.app][0]: "Superuser" is not a role flag; write one of bypassrls, createdb, createrole, inherit, login, replication, superuser, or one of these with no in front, all in one case'),
        ({"maintenanceWindows": ["Mon:25:00-26:00"]}, 'spec.maintenanceWindows[0]: "Mon:25:00-26:00" is not a maintenance window; write Mon:01:00-02:00 or 01:00-02:00, in UTC, the day one of Mon Tue Wed Thu Fri Sat Sun'),
        ({"allowedSourceRanges": ["10.0.0.1"]}, 'spec.allowedSourceRanges[0]: "10.0.0.1" is not a network; write an address with its length, such as 10.0.0.0/8'),
        ({"clone": {"cluster": "Other"}}, "spec.clone.cluster: \"Other\" is not a cluster's name; write the name of a cluster in this namespace, or a timestamp"),
        ({"clone": {"cluster": "x" * 254, "timestamp": "2026-11-23T12:40:33+00:00"}}, "spec.clone.cluster: has 254 characters, 253 is the most; write the name that the source has in its archive's path"),
        ({"clone": {"cluster": "x", "timestamp": "2026-11-23T12:40:33Z"}}, 'spec.clone.timestamp: "2026-11-23T12:40:33Z" is not a time with a numeric offset; write 2026-11-23T12:40:33+00:00 (with +00:00, not Z)'),
        ({"standby": {}}, "spec.standby: names no source; add standby_host, s3_wal_path or gs_wal_path"),
        ({"standby": {"s3_wal_path": "a", "gs_wal_path": "b"}}, "spec.standby: has s3_wal_path and gs_wal_path; remove one of them"),
        ({"connectionPooler": {"mode": "fast"}}, "spec.connectionPooler.mode: \"fast\" is not known; write 'session' or 'transaction'"),
        ({"resources": {"limits": {"cpu": "1.2345"}}}, 'spec.resources.limits.cpu: "1.2345" is not an amount of CPU; write 500m, 1 or 1.5'),
        ({"logicalBackupSchedule": "@often"}, 'spec.logicalBackupSchedule: "@often" is not a cron schedule; write five fields, such as 30 00 * * *'),
        ({"tls": {"secretName": "a.b"}}, 'spec.tls.secretName: "a.b" cannot name a volume; use a Secret whose name has lower-case letters, digits and dashes only, at most 63'),
        ({"databases": {"foo": None}}, "spec.databases.foo: has no value; write one, or remove it"),
        ({"preparedDatabases": {"Foo": {"defaultUsers": True}}}, 'spec.preparedDatabases.Foo: "Foo" is part of a Secret\'s name and cannot be; use lower-case letters, digits and underscores, or no defaultUsers'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_path_and_hint(spec: dict[str, Any], problem: str) -> None:
    assert problems(manifest(**spec)) == [problem]


def test_mistakes_of_every_sort_are_told_at_once() -> None:
    raw = manifest(
        volume={"size": "10GB"},
        teamId=5,
        users={"app": ["login", "nologin"]},
        standby={},
        sidecars=[{"env": [{}]}],
        additionalVolumes=[5, {"name": "a"}],
    )
    raw["metadata"] = {"name": "Bad"}

    assert [problem.split(":")[0] for problem in problems(raw)] == [
        "metadata.name",
        "spec.additionalVolumes[0]",
        "spec.additionalVolumes[1].mountPath",
        "spec.additionalVolumes[1].volumeSource",
        "spec.sidecars[0].env[0]",
        "spec.standby",
        "spec.teamId",
        "spec.users.app",
        "spec.volume.size",
    ]


@pytest.mark.parametrize("raw", [{}, {"spec": None}, {"spec": []}, {"metadata": 5, "spec": {"volume": "x"}}])
def test_a_wreck_is_refused_not_crashed_on(raw: dict[str, Any]) -> None:
    assert problems(raw)


@pytest.mark.parametrize(
    ("spec", "warning"),
    [
        ({"numberOfInstanses": 3}, "spec.numberOfInstanses: is not a known field and is ignored; did you mean numberOfInstances?"),
        ({"sidecars": [{"image": "x", "volumeMounts": []}]}, "spec.sidecars[0].volumeMounts: is not a known field and is ignored; remove it"),
        ({"preparedDatabases": {"a": {"schemas": {"b": {"owner": "c"}}}}}, "spec.preparedDatabases.a.schemas.b.owner: is not a known field and is ignored; remove it"),
        ({"useLoadBalancer": True}, "spec.useLoadBalancer: is the old name of a field; rename it to enableMasterLoadBalancer"),
        ({"masterNodePort": 30000}, "spec.masterNodePort: is ignored; add enableMasterNodePort: true"),
        ({"tls": {"secretName": "a", "caSecretName": "b"}}, "spec.tls.caSecretName: is ignored without caFile; add caFile: ca.crt"),
        ({"standby": {"s3_wal_path": "a", "standby_port": "5432"}}, "spec.standby.standby_port: is ignored without standby_host; add it, or remove this"),
        ({"databases": {"a-b": "c"}}, "spec.databases.a-b: is not created: a name of this form is left out; use letters, digits and underscores, no digit first"),
        ({"patroni": {"ttl": 20}}, "spec.patroni.ttl: 20 is below loop_wait + 2 × retry_timeout = 30: Patroni changes it; write 30 or more, or lower the others"),
        ({"patroni": {"synchronous_mode_strict": True}}, "spec.patroni.synchronous_mode_strict: is ignored without synchronous_mode; add synchronous_mode: true"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_told(spec: dict[str, Any], warning: str) -> None:
    assert warnings(**spec) == [warning]


def test_a_mount_path_that_is_taken_is_told() -> None:
    volume = {"name": "a", "mountPath": "/home/postgres/pgdata", "volumeSource": {}}

    assert warnings(additionalVolumes=[volume]) == [
        'spec.additionalVolumes[0].mountPath: "/home/postgres/pgdata" is taken, so this volume is left out; mount it elsewhere'
    ]


@pytest.mark.parametrize(
    ("spec", "master", "replica"),
    [
        ({"useLoadBalancer": True}, True, None),
        ({"useLoadBalancer": True, "replicaLoadBalancer": True}, True, True),
        # Either new field makes both old ones void.
        ({"useLoadBalancer": True, "enableReplicaLoadBalancer": False}, None, False),
        ({"replicaLoadBalancer": True, "enableMasterLoadBalancer": True}, True, None),
    ],
)
def test_removed_load_balancer_fields_count_only_without_the_new_ones(
    spec: dict[str, Any], master: bool | None, replica: bool | None
) -> None:
    parsed = parse_manifest(manifest(**spec)).manifest.spec

    assert (parsed.enable_master_load_balancer, parsed.enable_replica_load_balancer) == (master, replica)


def test_other_removed_fields_stand_in_for_their_successors() -> None:
    container = {"name": "a", "image": "busybox"}
    old = parse_manifest(manifest(init_containers=[container], pod_priority_class_name="high")).manifest.spec
    both = parse_manifest(manifest(init_containers=[{"name": "ignored"}], initContainers=[])).manifest.spec

    assert old.init_containers == (container,)
    assert old.pod_priority_class_name == "high"
    assert both.init_containers == ()


def test_a_user_without_a_value_has_no_flags() -> None:
    assert parse_manifest(manifest(users={"foo": None})).manifest.spec.users == {"foo": ()}


def test_an_empty_map_is_not_an_absent_one() -> None:
    assert parse_manifest(manifest(preparedDatabases={})).manifest.spec.prepared_databases == {}
    assert parse_manifest(manifest()).manifest.spec.prepared_databases is None


def test_a_status_of_any_shape_is_kept() -> None:
    assert parse_manifest({**SMALL, "status": "Running"}).manifest.status == "Running"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab.:/ß", max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab.ß", max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(st.text("xyz", min_size=1, max_size=3), _JSON, max_size=3),
    st.sampled_from(["1Gi", "1024Mi", "1.5G", "1e9"]),
    st.sampled_from(["100m", "1", "0.5"]),
)
def test_writing_a_parsed_manifest_loses_nothing(unknown: dict[str, Any], size: str, cpu: str) -> None:
    raw = manifest(
        **unknown,
        volume={"size": size, **unknown},
        resources={"requests": {"cpu": cpu, "hugepages-2Mi": size}, "limits": {"hugepages-2Mi": size}},
        maintenanceWindows=[" 1:00-2:00"],
        allowedSourceRanges=None,
        patroni={"ttl": 30, "new_thing": unknown},
    )

    assert dump_manifest(parse_manifest(deepcopy(raw)).manifest) == raw


@given(st.dictionaries(st.sampled_from([*SMALL["spec"], "users", "patroni", "env", "clone"]), _JSON))
def test_random_values_are_parsed_or_refused_with_paths(spec: dict[str, Any]) -> None:
    found: tuple[Problem, ...] = ()
    try:
        parse_manifest(manifest(**spec))
    except InvalidSpec as refused:
        found = refused.problems
    assert all(problem.path.startswith("spec.") for problem in found)
