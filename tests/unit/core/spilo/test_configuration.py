"""What Patroni will read, whole; and what becomes of it on machines that cannot do everything.

Set HOWDAH_WRITE_GOLDEN=1 to write the documents anew; read the difference.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from howdah.core.spilo.access import possible_lines
from howdah.core.spilo.configuration import configuration, merged
from howdah.core.spilo.environment import parse_environment
from unit.core.spilo.cases import BARE, ENVIRONMENT, GIB, LOCAL, machine, without

GOLDEN = Path(__file__).parent / "golden"
MINIMAL = without(ENVIRONMENT, "SPILO_CONFIGURATION", "PAM_OAUTH2", "KUBERNETES_BOOTSTRAP_LABELS", "PGVERSION")

CASES = {
    "container-configmaps": (ENVIRONMENT, machine()),
    "container-endpoints-defaults": (without(MINIMAL, "KUBERNETES_USE_CONFIGMAPS"), machine()),
    "local-without-features": (LOCAL, machine(BARE, kube_context="local", utf8_locale="C.UTF-8", memory_bytes=GIB)),
    "ipv6-plain-connections": (MINIMAL | {"POD_IP": "fd00::3", "ALLOW_NOSSL": "1"}, machine()),
}


def made(environment, on):
    return configuration(parse_environment(environment), on)


@pytest.mark.parametrize("name", CASES)
def test_the_whole_document_is_as_recorded(name):
    result = made(*CASES[name])
    text = yaml.safe_dump(
        {"dropped": [str(one) for one in result.dropped], "patroni.yaml": result.document}, sort_keys=True, width=110
    )
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("HOWDAH_WRITE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("variable", ["CLONE_METHOD", "STANDBY_HOST"])
def test_what_is_to_begin_with_other_data_does_not_begin_with_none(variable):
    bootstrap = made(ENVIRONMENT | {variable: "x"}, machine()).document["bootstrap"]
    assert bootstrap[bootstrap["method"]] == {"command": f"/usr/bin/python3 /opt/howdah/refuse_bootstrap.py {variable}"}
    assert "method" not in made(ENVIRONMENT, machine()).document["bootstrap"]


def parameters(environment, on):
    return made(environment, on).document["postgresql"]["parameters"]


@pytest.mark.parametrize(
    ("gigabytes", "connections", "buffers"), [(1, 100, 204), (4, 136, 819), (16, 546, 3276), (64, 1000, 13107)]
)
def test_connections_and_buffers_follow_memory(gigabytes, connections, buffers):
    document = made(MINIMAL, machine(memory_bytes=gigabytes * GIB)).document
    assert document["bootstrap"]["dcs"]["postgresql"]["parameters"]["max_connections"] == connections
    assert document["postgresql"]["parameters"]["shared_buffers"] == f"{buffers}MB"


def test_the_users_lists_win_whole():
    spilo = '{"postgresql": {"pg_hba": ["local all all peer"]}, "bootstrap": {"initdb": [{"wal-segsize": 64}]}}'
    document = made(ENVIRONMENT | {"SPILO_CONFIGURATION": spilo}, machine()).document
    assert document["postgresql"]["pg_hba"] == ["local all all peer"]
    assert document["bootstrap"]["initdb"] == [{"wal-segsize": "64"}]


def test_the_users_scripts_win():
    spilo = '{"postgresql": {"before_stop": "/own/stop", "pre_promote": "/own/promote"}}'
    section = made(ENVIRONMENT | {"SPILO_CONFIGURATION": spilo}, machine()).document["postgresql"]
    assert (section["before_stop"], section["pre_promote"]) == ("/own/stop", "/own/promote")


def test_the_users_library_that_is_missing_is_left_out_and_told():
    spilo = '{"postgresql": {"parameters": {"shared_preload_libraries": "pg_stat_statements, gone,/opt/own.so"}}}'
    build = replace(BARE, libraries=frozenset({"pg_stat_statements"}))
    result = made(ENVIRONMENT | {"SPILO_CONFIGURATION": spilo}, machine(build))
    assert result.document["postgresql"]["parameters"]["shared_preload_libraries"] == "pg_stat_statements,/opt/own.so"
    assert "shared_preload_libraries: gone" in " ".join(map(str, result.dropped))


def test_without_openssl_nothing_speaks_of_ssl():
    found = parameters(LOCAL | {"SSL_CA_FILE": "/tls/ca.crt"}, machine(BARE))
    assert {name: value for name, value in found.items() if name.startswith("ssl")} == {"ssl": "off"}


def test_full_binaries_lose_nothing():
    assert made(ENVIRONMENT, machine()).dropped == ()


def test_backups_that_are_asked_for_and_not_made_are_told():
    dropped = made(ENVIRONMENT | {"WAL_S3_BUCKET": "b"}, machine()).dropped
    assert [str(one) for one in dropped] == ["left out: WAL_S3_BUCKET (not served by this version of the instance)"]


def test_icu_options_go_without_icu():
    spilo = '{"bootstrap": {"initdb": ["data-checksums", {"locale-provider": "icu"}, {"icu-locale": "en"}]}}'
    result = made(ENVIRONMENT | {"SPILO_CONFIGURATION": spilo}, machine(BARE))
    assert result.document["bootstrap"]["initdb"] == ["data-checksums"]


@pytest.mark.parametrize(
    ("line", "features", "kept"),
    [
        ("hostssl all all all md5", {"openssl"}, ["hostssl all all all md5"]),
        ("hostssl all all all md5", set(), ["host\tall\tall\tall\tmd5"]),
        ("hostnossl all all all reject", set(), []),
        ("host all all 10.0.0.0 255.0.0.0 pam", set(), []),
        ("host all all all pam pamservice=x", {"pam"}, ["host all all all pam pamservice=x"]),
        ("local all all pam", set(), []),
        ("local all pam trust", set(), ["local all pam trust"]),
        ("# hostssl all all all md5", set(), ["# hostssl all all all md5"]),
        ("", set(), [""]),
    ],
)
def test_access_lines_become_what_the_build_can_serve(line, features, kept):
    assert possible_lines([line], replace(BARE, features=frozenset(features)))[0] == kept


def test_the_name_of_the_human_role_cannot_break_out_of_the_command():
    command = made(ENVIRONMENT | {"HUMAN_ROLE": "a$b"}, machine()).document["bootstrap"]["post_init"]
    assert "'--set=human_role=a$b'" in command


trees = st.recursive(
    st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2),
    lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


def contains(whole, part):
    return (
        whole == part
        if not isinstance(part, dict)
        else all(k in whole and contains(whole[k], v) for k, v in part.items())
    )


@given(base=mappings, over=mappings)
def test_merging_keeps_all_of_the_user_and_the_rest_of_the_base(base, over):
    result = merged(base, over)
    assert contains(result, over)
    assert set(result) == set(base) | set(over)
    assert merged(result, over) == result


QUICK = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5}


@pytest.mark.parametrize(
    ("asked", "servers", "dcs", "bypassed"),
    [
        (None, 1, {}, False),
        (None, 3, {}, True),
        (None, None, {}, True),
        (None, 3, {"failsafe_mode": "off"}, True),
        (None, 3, {"failsafe_mode": True}, False),
        (None, None, {"failsafe_mode": True}, False),
        (None, 3, {"failsafe_mode": True, "ttl": 40}, True),
        (None, 3, {"failsafe_mode": True, **QUICK}, True),
        (None, 3, {"failsafe_mode": True, **QUICK, "loop_wait": 10}, False),
        (None, 3, {"failsafe_mode": "on", "ttl": "40"}, True),
        (None, 3, {"failsafe_mode": "Off", "retry_timeout": "soon"}, True),
        (None, 3, None, True),
        ("true", 1, {"failsafe_mode": True}, True),
        ("false", 3, {}, False),
    ],
)
def test_the_api_service_is_bypassed_where_a_leader_that_is_cut_off_has_the_time_for_it(asked, servers, dcs, bypassed):
    environment = ENVIRONMENT | ({"KUBERNETES_BYPASS_API_SERVICE": asked} if asked else {})
    environment["SPILO_CONFIGURATION"] = json.dumps({"bootstrap": {"dcs": dcs}})
    section = made(environment, machine(api_servers=servers)).document["kubernetes"]
    assert section["bypass_api_service"] is bypassed
