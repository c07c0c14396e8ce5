"""A simulated cluster is one that the operator leaves alone."""

from bench.fleet import NAMESPACE, QUIET_IP, Fleet, fill, heartbeat, settings

from howdah.adapters.kubernetes import POSTGRESQLS, RESOURCES
from howdah.core.objects.build import build
from howdah.core.objects.diff import compare
from howdah.core.patroni.member import parse_leader, parse_member
from howdah.core.resolve import resolve
from howdah.kube import resources as r
from howdah.kube.testing import Store


def test_objects_of_a_simulated_cluster_are_as_intended() -> None:
    store = Store()
    fill(store, Fleet(1))
    cluster = resolve(store.read(POSTGRESQLS, NAMESPACE, "acid-c0000"), settings())
    for body in build(cluster):
        live = store.read(RESOURCES[body["kind"]], NAMESPACE, body["metadata"]["name"])
        assert compare(body, live) == ()


def test_members_report_as_patroni_does() -> None:
    leader = parse_member("acid-c0000-0", {"status": heartbeat("acid-c0000-0", 0, QUIET_IP, 7)})
    replica = parse_member("acid-c0000-1", {"status": heartbeat("acid-c0000-1", 1, QUIET_IP, 7)})
    assert leader is not None
    assert replica is not None
    assert (leader.role, leader.state, leader.lsn) == ("primary", "running", 7)
    assert (replica.role, replica.state, replica.lsn) == ("replica", "streaming", 7)


def test_leader_of_a_simulated_cluster_is_its_first_pod() -> None:
    store = Store()
    fill(store, Fleet(1))
    lock = store.read(r.CONFIGMAPS, NAMESPACE, "acid-c0000-leader")
    assert parse_leader(lock["metadata"]["annotations"]).name == "acid-c0000-0"
