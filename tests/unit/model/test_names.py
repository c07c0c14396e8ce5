"""Names, labels and paths are the contract's."""

import pytest

from howdah.model.names import (
    LabelKeys,
    Names,
    Pause,
    Templates,
    belongs,
    credentials_secret,
    dns_name,
    is_members_claim,
    lease,
    pause_of,
    selector_with_poolers,
)

TEMPLATES = Templates(
    "{username}.{cluster}.credentials.{tprkind}.{tprgroup}", "postgres-{cluster}-pdb", "postgres-pod", "logical-backup-"
)


def _names(dcs: str = "configmaps") -> Names:
    return Names("ns", "acid-a", dcs, TEMPLATES)  # type: ignore[arg-type]


def test_the_objects_of_a_cluster_are_named_as_the_contract_says() -> None:
    names = _names()
    assert names.stateful_set == names.leader_service == "acid-a"
    assert names.replica_service == "acid-a-repl"
    assert (names.primary_budget, names.critical_budget) == ("postgres-acid-a-pdb", "postgres-acid-a-critical-op-pdb")
    assert (names.pod(1), names.claim(1)) == ("acid-a-1", "pgdata-acid-a-1")
    assert names.service_host("replica", "cluster.local") == "acid-a-repl.ns.svc.cluster.local"


@pytest.mark.parametrize(
    ("dcs", "leader", "config"),
    [
        ("configmaps", ("ConfigMap", "acid-a-leader"), ("ConfigMap", "acid-a-config")),
        ("endpoints", ("Endpoints", "acid-a"), ("Endpoints", "acid-a-config")),
    ],
)
def test_patronis_objects_are_where_it_keeps_them(dcs: str, leader: tuple[str, str], config: tuple[str, str]) -> None:
    names = _names(dcs)
    assert (names.leader_object, names.config_object) == (leader, config)
    assert (("Service", "acid-a-config") in names.patroni_objects) is (dcs == "endpoints")


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("foo_user", "foo-user.acid-a.credentials.postgresql.acid.zalan.do"),
        ("apps.reader", "apps.reader.acid-a.credentials.postgresql.acid.zalan.do"),
    ],
)
def test_a_secret_is_named_by_the_template(user: str, expected: str) -> None:
    assert _names().secret(user) == expected


def test_placeholders_that_are_not_known_stay() -> None:
    assert credentials_secret("{namespace}.{username}", "a", "c") == "{namespace}.a"
    assert dns_name("{cluster}.{Other}", {"cluster": "A"}) == "a.{other}"


def test_inherited_labels_win_and_a_selector_has_no_team() -> None:
    keys = LabelKeys({"application": "spilo"}, "cluster-name", "spilo-role", ("cost", "team", "absent"))
    labels = keys.labels("acid-a", "acid", {"cost": "1", "team": "other", "more": "x"})
    assert labels.selector == {"application": "spilo", "cluster-name": "acid-a"}
    assert labels.full == {"application": "spilo", "cluster-name": "acid-a", "team": "other", "cost": "1"}
    assert labels.full_of("master")["spilo-role"] == "master"
    assert labels.selector_text == "application=spilo,cluster-name=acid-a"


@pytest.mark.parametrize(
    ("written", "pause"),
    [("", Pause.NONE), ("none", Pause.NONE), ("Disruptive", Pause.DISRUPTIVE), ("all", Pause.ALL), ("yes", Pause.ALL)],
)
def test_a_pause_is_read_in_doubt_as_the_wider_one(written: str, pause: Pause) -> None:
    assert pause_of({"howdah.dev/pause": written}) is pause


@pytest.mark.parametrize(
    ("labels", "selector"),
    [
        ({"application": "spilo"}, "application in (spilo,db-connection-pooler)"),
        ({"b": "1", "application": "x"}, "application in (x,db-connection-pooler),b=1"),
        ({"a": "1"}, "a=1"),
    ],
)
def test_one_selector_finds_clusters_and_their_poolers(labels: dict[str, str], selector: str) -> None:
    assert selector_with_poolers(labels) == selector


@pytest.mark.parametrize(
    ("controller_id", "name"),
    [
        ("", "howdah"),
        ("second", "howdah-second"),
        ("No name!", "howdah-fc516e72a1e799fa"),
        ("x" * 63, f"howdah-{'x' * 63}"),
        ("x" * 64, "howdah-7ce100971f64e700"),
    ],
)
def test_operators_of_another_id_have_a_lease_of_their_own(controller_id: str, name: str) -> None:
    assert lease(controller_id) == name


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("pgdata-acid-a-0", True),
        ("pgdata-acid-a-12", True),
        ("scratch-acid-a-0", False),
        ("pgdata-acid-a-exporter-0", False),
        ("pgdata-acid-a-0-copy", False),
        ("pgdata-acid-a", False),
        ("pgdata-acid-a-²", False),
        ("acid-a-0", False),
    ],
)
def test_a_claim_is_a_members_by_its_whole_name(claim: str, expected: bool) -> None:
    assert is_members_claim(claim, "acid-a") is expected
    assert belongs("PersistentVolumeClaim", claim, "acid-a", TEMPLATES) is expected
