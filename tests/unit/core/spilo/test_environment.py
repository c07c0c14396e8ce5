"""Each variable's meaning and each wrong value's error."""

import pytest

from howdah.core.spilo.environment import MAX_SOCKET_DIRECTORY_BYTES, parse_environment
from howdah.core.spilo.process import patroni_environment
from howdah.model.errors import InvalidSpec
from unit.core.spilo.cases import ENVIRONMENT, LOCAL, without


def problems(environment):
    with pytest.raises(InvalidSpec) as caught:
        parse_environment(environment)
    return [str(problem) for problem in caught.value.problems]


def test_what_the_operator_renders_is_understood():
    request = parse_environment(ENVIRONMENT)
    assert (request.scope, request.name, request.version) == ("acid-minimal-cluster", "acid-minimal-cluster-0", 18)
    assert request.paths.data == "/home/postgres/pgdata/pgroot/data"
    assert request.paths.sockets == "/var/run/postgresql"
    assert request.superuser.username == "postgres"
    assert request.superuser.password == "superuser-password"
    assert not request.protects_restapi
    assert not request.shares_loopback
    assert request.store["kubernetes"] == {
        "bootstrap_labels": {"critical-operation": "true"},
        "labels": {"application": "spilo"},
        "leader_label_value": "master",
        "role_label": "spilo-role",
        "scope_label": "cluster-name",
        "standby_leader_label_value": "master",
    }


def test_endpoints_are_used_unless_configmaps_are_asked_for():
    assert parse_environment(without(ENVIRONMENT, "KUBERNETES_USE_CONFIGMAPS")).store["kubernetes"]["use_endpoints"]


def test_every_kubernetes_variable_becomes_a_key():
    request = parse_environment(
        ENVIRONMENT | {"KUBERNETES_TMP_ROLE_LABEL": "r", "KUBERNETES_LEADER_LABEL_VALUE": "primary"}
    )
    assert request.store["kubernetes"]["tmp_role_label"] == "r"
    assert request.store["kubernetes"]["leader_label_value"] == "primary"


@pytest.mark.parametrize(
    ("variables", "store"),
    [
        ({"ETCD_HOST": "etcd:2379"}, {"etcd": {"host": "etcd:2379"}}),
        ({"ETCD3_HOSTS": "a:1, b:2"}, {"etcd3": {"hosts": ["a:1", "b:2"]}}),
        ({"ETCD3_HOSTS": "['a:1', 'b:2']"}, {"etcd3": {"hosts": ["a:1", "b:2"]}}),
        ({"ETCD_DISCOVERY_DOMAIN": "x.org"}, {"etcd": {"srv": "x.org"}}),
        ({"CONSUL_HOST": "c", "CONSUL_PORT": "8500"}, {"consul": {"host": "c", "port": 8500}}),
    ],
)
def test_other_stores_are_used_without_kubernetes(variables, store):
    assert parse_environment(without(ENVIRONMENT, "DCS_ENABLE_KUBERNETES_API") | variables).store == store


def test_passwords_are_not_shown():
    assert "-password" not in repr(parse_environment(ENVIRONMENT))


def test_a_pod_of_the_local_platform_has_short_socket_paths_of_its_own():
    request = parse_environment(LOCAL)
    assert request.paths.sockets == "/tmp/pods/a1/postgresql"
    assert request.shares_loopback
    assert request.protects_restapi


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"SCOPE": ""}, "SCOPE: is not set; set it to the cluster's name"),
        ({"HOSTNAME": ""}, "HOSTNAME: is not set; set it to the pod's name"),
        ({"POD_IP": ""}, "POD_IP: is not set; set it to the pod's address"),
        ({"POD_IP": "here"}, 'POD_IP: "here" is not an IP address; such as 10.2.3.4'),
        ({"PGPORT": "0"}, 'PGPORT: "0" cannot be used; expected a port between 1 and 65535'),
        ({"APIPORT": "http"}, 'APIPORT: "http" cannot be used; expected a port between 1 and 65535'),
        ({"PGVERSION": "9.6"}, 'PGVERSION: "9.6" cannot be used; expected a major version such as "18"'),
        ({"HUMAN_ROLE": 'a"b'}, 'HUMAN_ROLE: "a"b" cannot be used; expected a role name'),
        ({"HOWDAH_PATRONI_AUTH": "on"}, 'HOWDAH_PATRONI_AUTH: "on" cannot be used; expected derived, or nothing'),
        (
            {"HOWDAH_MEMORY_LIMIT_BYTES": "1Gi"},
            'HOWDAH_MEMORY_LIMIT_BYTES: "1Gi" cannot be used; expected a positive number of bytes',
        ),
        (
            {"SPILO_CONFIGURATION": '["secret"]'},
            "SPILO_CONFIGURATION: its value cannot be used; expected a YAML or JSON mapping",
        ),
        (
            {"SPILO_CONFIGURATION": "a: [secret"},
            "SPILO_CONFIGURATION: its value cannot be used; expected a YAML or JSON mapping",
        ),
        (
            {"KUBERNETES_LABELS": "a=b"},
            'KUBERNETES_LABELS: "a=b" cannot be used; expected a JSON object of texts such as {"application":"spilo"}',
        ),
        (
            {"KUBERNETES_BYPASS_API_SERVICE": "maybe"},
            'KUBERNETES_BYPASS_API_SERVICE: "maybe" cannot be used; expected true or false',
        ),
        (
            {"DCS_ENABLE_KUBERNETES_API": ""},
            "DCS_ENABLE_KUBERNETES_API: is not set, and no other store is named; "
            'set it to "true", or one of CONSUL_HOST, EXHIBITOR_HOST, ZOOKEEPER_HOST, ETCD_HOST, ETCD3_HOST',
        ),
        (
            {"SSL_CERTIFICATE_FILE": "/tls/tls.crt"},
            "SSL_PRIVATE_KEY_FILE: is not set; SSL_CERTIFICATE needs it: set both or neither",
        ),
        ({"PGROOT": "data"}, 'PGROOT: "data" is not an absolute path; begin it with /'),
    ],
)
def test_a_wrong_value_names_variable_value_and_expectation(variables, problem):
    assert problems(ENVIRONMENT | variables) == [problem]


def test_all_problems_are_told_at_once():
    assert len(problems({"PGPORT": "x", "PGVERSION": "x", "SPILO_CONFIGURATION": "1"})) == 7


def test_a_folder_too_long_for_a_socket_is_refused():
    short = "/" + "r" * (MAX_SOCKET_DIRECTORY_BYTES - len("//postgresql"))
    parse_environment(LOCAL | {"RW_DIR": short})
    assert "too long for a Unix socket" in problems(LOCAL | {"RW_DIR": short + "r"})[0]


def test_certificates_given_as_text_are_written_to_files():
    request = parse_environment(ENVIRONMENT | {"SSL_CERTIFICATE": "C", "SSL_PRIVATE_KEY": "K", "SSL_CA_FILE": "/ca"})
    assert request.tls.certificate_is_given
    assert request.tls.texts == {"/run/certs/server.crt": "C", "/run/certs/server.key": "K"}
    assert request.tls.ca_file == "/ca"


@pytest.mark.parametrize("variable", ["CLONE_METHOD", "STANDBY_HOST", "STANDBY_WALE_S3_PREFIX"])
def test_another_bootstrap_than_an_empty_database_is_noticed(variable):
    assert parse_environment(ENVIRONMENT | {variable: "x"}).seed == variable


def test_variables_that_are_not_served_are_noticed():
    request = parse_environment(
        ENVIRONMENT | {"WAL_S3_BUCKET": "b", "LOG_S3_BUCKET": "", "WALG_AZ_PREFIX": "azure://x"}
    )
    assert request.unserved == ("WALG_AZ_PREFIX", "WAL_S3_BUCKET")


def test_patroni_never_sees_a_password():
    kept = patroni_environment(LOCAL | {"PATH": "/bin", "POD_UID": "u", "PGDATABASE": "x"}, locale="C.UTF-8")
    assert set(kept) == {
        *("HOSTNAME", "HOWDAH_PATRONI_AUTH", "KUBECONFIG", "KUBERNETES_PORT", "KUBERNETES_PORT_443_TCP_ADDR"),
        *("KUBERNETES_ROLE_LABEL", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "LC_ALL", "PATH"),
        *("POD_IP", "POD_NAMESPACE", "POD_UID", "RW_DIR"),
    }
    assert kept["LC_ALL"] == "C.UTF-8"
