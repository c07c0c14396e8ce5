"""The operator configuration reads the same from both forms, but where the reference says otherwise."""

# ruff: noqa: E501  # a case is a line

from typing import Any

import pytest

from howdah.model.errors import InvalidSpec
from howdah.model.settings import (
    GROUPS,
    OPTIONS,
    InfrastructureRoleSecret,
    NamespacedName,
    default_settings,
    settings_from_configmap,
    settings_from_configuration,
)
from howdah.model.units import Duration, MaintenanceWindow, Quantity


def configured(**configuration: Any) -> Any:
    return settings_from_configuration({"configuration": configuration})[0]


def refused(read: Any, raw: Any) -> str:
    with pytest.raises(InvalidSpec) as caught:
        read(raw)
    return str(caught.value)


def test_defaults_are_those_of_an_empty_configmap_and_raise_no_doubt() -> None:
    settings, warnings = default_settings()

    assert not warnings
    assert settings.docker_image == "ghcr.io/zalando/spilo-18:4.1-p2"
    assert settings.resync_period == Duration.parse("30m")
    assert settings.cluster_labels == {"application": "spilo"}
    assert settings.enable_master_load_balancer is True
    assert settings.min_instances == -1
    assert settings.spilo_fsgroup is None
    assert settings.default_cpu_request is None
    assert settings.max_rolling_clusters == 5


# Three sources, three defaults: a ConfigMap without the key, an OperatorConfiguration with the empty group, one without.
@pytest.mark.parametrize(
    ("name", "from_configmap", "with_group", "without_group"),
    [
        ("password_rotation_user_retention", 180, 120, 180),
        ("master_pod_move_timeout", Duration.parse("20m"), Duration.parse("20m"), Duration.parse("10m")),
        ("enable_master_load_balancer", True, False, False),
        ("enable_teams_api", True, False, False),
        ("enable_postgres_team_crd", False, True, False),
        ("enable_admin_role_for_users", True, True, False),
        ("team_admin_role", "admin", "admin", ""),
        ("pdb_name_format", "postgres-{cluster}-pdb", "postgres-{cluster}-pdb", ""),
        ("node_readiness_label_merge", "OR", "", ""),
        (
            "oauth_token_secret_name",
            NamespacedName("", "postgresql-operator"),
            NamespacedName("", "postgres-operator"),
            None,
        ),
        ("scalyr_memory_limit", Quantity.parse("500Mi"), Quantity.parse("500Mi"), None),
        ("protected_role_names", ("admin", "cron_admin"), ("admin", "cron_admin"), ("admin", "cron_admin")),
        ("connection_pooler_max_db_connections", 60, 60, 60),
        ("aws_region", "eu-central-1", "eu-central-1", ""),
        ("enable_pod_disruption_budget", True, True, True),
    ],
)
def test_each_source_has_its_own_default(name: str, from_configmap: Any, with_group: Any, without_group: Any) -> None:
    assert getattr(settings_from_configmap({})[0], name) == from_configmap
    assert getattr(configured(**{group: {} for group in GROUPS}), name) == with_group
    assert getattr(configured(), name) == without_group


def test_top_level_defaults_hold_without_any_group() -> None:
    settings = configured(docker_image="spilo:1")

    assert (settings.min_instances, settings.max_instances) == (-1, -1)
    assert settings.enable_pgversion_env_var is True
    assert settings.docker_image == "spilo:1"


def test_an_explicit_zero_of_max_instances_is_a_limit() -> None:
    assert configured(max_instances=0).max_instances == 0


def test_an_empty_value_of_a_configuration_means_its_fallback() -> None:
    settings = configured(docker_image="", kubernetes={"pod_role_label": "", "cluster_labels": {}})

    assert settings.docker_image == "ghcr.io/zalando/spilo-18:4.1-p2"
    assert settings.pod_role_label == "spilo-role"
    assert settings.cluster_labels == {"application": "spilo"}


def test_a_false_of_a_configuration_stays_false() -> None:
    assert configured(enable_shm_volume=False).enable_shm_volume is False


def test_an_empty_value_of_a_configmap_is_the_zero_value_not_the_default() -> None:
    settings, _ = settings_from_configmap({"pod_role_label": "", "enable_sidecars": "", "protected_role_names": ""})

    assert settings.pod_role_label == ""
    assert settings.enable_sidecars is False
    assert settings.protected_role_names == ()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("enable_sidecars", "f", False),
        ("workers", "0x10", 16),
        ("workers", "010", 8),
        ("max_instances", "-1", -1),
        ("protected_role_names", "a, b", ("a", " b")),  # not trimmed
        ("custom_pod_annotations", "a:x, b:y", {"a": "x", "b": "y"}),  # trimmed
        ("custom_pod_annotations", "plain: z", {"plain": " z"}),  # but not round the colon
        ("custom_pod_annotations", "a:'x,y',b:z", {"a": "'x,y'", "b": "z"}),  # quotes stay
        ("resync_period", "1h30m", Duration.parse("90m")),
        ("pod_environment_configmap", "ns/name", NamespacedName("ns", "name")),
        ("pod_environment_configmap", "name", NamespacedName("", "name")),
        ("maintenance_windows", "01:00-02:00,Sat:22:00-04:00", tuple(map(MaintenanceWindow.parse, ("01:00-02:00", "Sat:22:00-04:00")))),
        ("default_memory_limit", "500Mi", Quantity.parse("500Mi")),
        ("spilo_fsgroup", "103", 103),
    ],
)  # fmt: skip
def test_a_string_of_a_configmap_reads_as_the_reference_reads_it(name: str, text: str, value: Any) -> None:
    assert getattr(settings_from_configmap({name: text})[0], name) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("workers", "many", '"many" is not an integer'),
        ("workers", "0", "is out of range"),
        ("enable_sidecars", "yes", '"yes" is not a boolean; write true or false'),
        ("resync_period", "5", '"5" is not a duration'),
        ("resync_period", "-5m", '"-5m" is negative; write a time'),
        ("ready_wait_interval", "-1s", '"-1s" is negative; write a time'),
        ("resync_period", "0s", "data.resync_period: 0s is too short; write 1s or more, such as 30m"),
        ("resync_period", "", "data.resync_period: 0s is too short; write 1s or more, such as 30m"),
        ("resync_period", "999ms", "data.resync_period: 999ms is too short; write 1s or more, such as 30m"),
        ("leader_retry_period", "1ms", "data.leader_retry_period: 1ms is too short; write 100ms or more, such as 2s"),
        ("pod_terminate_grace_period", "0", "data.pod_terminate_grace_period: 0s is too short; write 1s or more"),
        ("cluster_labels", "a:b:c", "one colon in each pair"),
        ("sidecar_docker_images", "a:img:1", "one colon in each pair"),
        ("storage_resize_mode", "big", "write one of pvc, ebs, mixed, off"),
        ("default_cpu_limit", "10GB", '"10GB" is not a quantity'),
        ("pod_environment_configmap", "a/b/c", "write name or namespace/name"),
        ("maintenance_windows", "never", "is not a maintenance window"),
        ("logical_backup_schedule", "daily", "is not a cron schedule"),
        ("persistent_volume_claim_retention_policy", "when_deleted:keep", "write one of retain, delete"),
        ("sidecars", "a", "use an OperatorConfiguration"),
        ("connection_pooler_user", "postgres", "is the superuser"),
        ("leader_renew_deadline", "1m", "write for example 15s, 10s and 2s"),
    ],
)
def test_a_wrong_string_names_key_and_expectation(name: str, text: str, expected: str) -> None:
    message = refused(settings_from_configmap, {name: text})

    assert message.startswith("data.")
    assert expected in message


def test_every_wrong_value_is_told_at_once() -> None:
    message = refused(settings_from_configmap, {"workers": "x", "enable_sidecars": "y", "resync_period": "z"})

    assert len(message.splitlines()) == 3


def test_bounds_of_instances_must_not_cross() -> None:
    message = refused(settings_from_configmap, {"min_instances": "3", "max_instances": "2"})

    assert message.startswith("data.min_instances: 3 is above max_instances 2")


@pytest.mark.parametrize(
    ("configuration", "path"),
    [
        ({"workers": "8"}, "configuration.workers"),
        ({"kubernetes": {"enable_sidecars": "true"}}, "configuration.kubernetes.enable_sidecars"),
        ({"kubernetes": {"cluster_labels": {"a": 1}}}, "configuration.kubernetes.cluster_labels"),
        ({"kubernetes": []}, ""),
        ({"users": "postgres"}, "configuration.users"),
        ({"timeouts": {"resource_check_timeout": 5}}, "configuration.timeouts.resource_check_timeout"),
        ({"connection_pooler": {"connection_pooler_user": "postgres"}}, "configuration.connection_pooler"),
    ],
)
def test_a_wrong_type_in_a_configuration_names_its_path(configuration: Any, path: str) -> None:
    if path:
        assert refused(settings_from_configuration, {"configuration": configuration}).startswith(path)
    else:
        assert configured(**configuration).pod_role_label == "spilo-role"


def test_a_configuration_without_its_body_is_refused() -> None:
    assert "under the key configuration" in refused(settings_from_configuration, {"spec": {}})


def test_a_configuration_runs_two_pooler_pods_at_least() -> None:
    pooler = {"connection_pooler_number_of_instances": 1}

    assert configured(connection_pooler=pooler).connection_pooler_number_of_instances == 2
    assert settings_from_configmap({"connection_pooler_number_of_instances": "1"})[0] \
        .connection_pooler_number_of_instances == 1  # fmt: skip


def test_infrastructure_roles_read_from_both_forms() -> None:
    text = "secretname:infra,userkey:user,passwordkey:pw,defaultrolevalue:robot"
    entry = {"secretname": "ns/infra", "userkey": "user", "passwordkey": "pw", "rolekey": "role"}

    assert settings_from_configmap({"infrastructure_roles_secrets": text})[0].infrastructure_roles_secrets == (
        InfrastructureRoleSecret(NamespacedName("default", "infra"), "user", "pw", default_role_value="robot"),
    )
    assert configured(kubernetes={"infrastructure_roles_secrets": [entry]}).infrastructure_roles_secrets == (
        InfrastructureRoleSecret(NamespacedName("ns", "infra"), "user", "pw", "role"),
    )


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        ({"docker_imag": "x"}, "data.docker_imag: is not a known option and is ignored; did you mean docker_image?"),
        ({"enable_load_balancer": "true"}, "use enable_master_load_balancer"),
        ({"cluster_labels": "tier:db"}, "data.cluster_labels: has no key application"),
        ({"inherited_labels": "application"}, '"application" is in cluster_labels too'),
        (
            {"toleration": "kye:x"},
            "data.toleration.kye: is not known and is ignored; the keys are key, operator, value, effect",
        ),
        ({"protected_role_names": "a, b"}, "begin or end with a blank"),
    ],
)
def test_a_doubtful_configmap_warns_and_works(data: dict[str, str], warning: str) -> None:
    _, warnings = settings_from_configmap(data)

    assert any(warning in str(found) for found in warnings)


def test_an_option_in_the_wrong_group_is_told_where_it_belongs() -> None:
    raw = {"configuration": {"pod_role_label": "x", "kubernetes": {"workers": 3}, "kubernets": {}}}

    _, warnings = settings_from_configuration(raw)

    assert [str(warning) for warning in warnings] == [
        "configuration.pod_role_label: is ignored here; move it to configuration.kubernetes.pod_role_label",
        "configuration.kubernets: is not a known option and is ignored; did you mean kubernetes?",
        "configuration.kubernetes.workers: is ignored here; move it to configuration.workers",
    ]


def test_credentials_are_not_in_the_printed_form() -> None:
    settings, _ = settings_from_configmap({"logical_backup_s3_secret_access_key": "hunter2", "scalyr_api_key": "k3y"})

    assert "hunter2" not in repr(settings)
    assert "k3y" not in repr(settings)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_every_default_of_an_option_can_be_read(option: Any) -> None:
    for value in (option.default, option.schema, option.fallback):
        if value is not None:
            option.kind.from_json(value)
    assert option.help
