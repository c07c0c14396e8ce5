"""The roles that an installation gets, in each of the three modes."""

import json

import pytest

from howdah.adapters.kubernetes import RESOURCES
from howdah.core.objects.build import build
from howdah.core.objects.diff import is_ever_changed
from howdah.core.permissions import GRANTS, Installation, Place, roles
from unit.core.clusters import cluster


def kinds(installation):
    found = sorted((o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in roles(installation))
    assert len(set(found)) == len(found)
    return found


def test_for_the_whole_cluster():
    assert kinds(Installation("op", "system")) == [
        ("ClusterRole", "", "op"),
        ("ClusterRole", "", "op-crds"),
        ("ClusterRole", "", "op-nodes"),
        ("ClusterRole", "", "postgres-pod"),
        ("ClusterRoleBinding", "", "op"),
        ("ClusterRoleBinding", "", "op-crds"),
        ("ClusterRoleBinding", "", "op-nodes"),
        ("Role", "system", "op-own"),
        ("RoleBinding", "system", "op-own"),
    ]


def test_for_single_namespaces_nothing_of_the_operator_is_cluster_wide():
    assert kinds(Installation("op", "system", ("a", "system"))) == [
        ("ClusterRole", "", "postgres-pod"),
        ("Role", "a", "op"),
        ("Role", "system", "op"),
        ("Role", "system", "op-own"),
        ("RoleBinding", "a", "op"),
        ("RoleBinding", "system", "op"),
        ("RoleBinding", "system", "op-own"),
    ]


def test_an_operator_of_single_namespaces_sees_nodes_only_where_that_is_asked_for():
    made = kinds(Installation("op", "system", ("a",), sees_nodes=True))
    assert [one for one in made if one[1] == ""] == [
        ("ClusterRole", "", "op-nodes"),
        ("ClusterRole", "", "postgres-pod"),
        ("ClusterRoleBinding", "", "op-nodes"),
    ]


@pytest.mark.parametrize("watched", [None, ("a",)])
def test_no_rule_has_a_wildcard_or_lets_the_operator_raise_its_own_rights(watched):
    for role in roles(Installation("op", "system", watched, configuration="main")):
        for rule in role.get("rules", ()):
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert not {"escalate", "impersonate"} & set(rule["verbs"])
            if "bind" in rule["verbs"]:
                assert rule["resourceNames"] == ["postgres-pod"]


def test_no_right_is_given_twice_and_each_says_why():
    given = [(g.place, g.group, g.resource, verb, g.names) for g in GRANTS for verb in g.verbs]
    assert len(set(given)) == len(given)
    assert all(g.why and g.without for g in GRANTS)
    assert {g.place for g in GRANTS} == set(Place)


def binding(**fields):
    return json.dumps({"kind": "RoleBinding", **fields})


@pytest.mark.parametrize(
    ("definition", "name", "bound"),
    [
        ("", "pods", ("clusterroles", "pods")),
        (binding(metadata={"name": "of-pods"}), "of-pods", ("clusterroles", "pods")),
        (binding(roleRef={"kind": "ClusterRole", "name": "theirs"}), "pods", ("clusterroles", "theirs")),
        ("kind: RoleBinding\nroleRef: {kind: Role, name: theirs}", "pods", ("roles", "theirs")),
    ],
)
def test_rights_about_role_bindings_are_of_the_one_that_is_made(definition, name, bound):
    rules = [
        rule
        for role in roles(Installation(pod_account="pods", role_binding=definition))
        for rule in role.get("rules", ())
        if rule["apiGroups"] == ["rbac.authorization.k8s.io"]
    ]
    assert [(*rule["resources"], *rule.get("resourceNames", ())) for rule in rules] == [
        ("rolebindings",),
        ("rolebindings", name),
        bound,
    ]


def test_a_definition_that_names_no_role_is_refused():
    with pytest.raises(ValueError, match="roleRef without a name"):
        roles(Installation(role_binding=binding(roleRef={"kind": "Role"})))


def test_what_may_be_made_and_not_patched_is_never_changed():
    verbs: dict[str, set[str]] = {}
    for grant in (g for g in GRANTS if g.place is Place.WATCHED):
        verbs.setdefault(grant.resource, set()).update(grant.verbs)
    built = {RESOURCES[body["kind"]].plural: body["kind"] for body in build(cluster())}
    assert {kind for plural, kind in built.items() if is_ever_changed(kind) and "patch" not in verbs[plural]} == set()
    assert {kind for plural, kind in built.items() if "patch" not in verbs[plural]} == {"RoleBinding"}


def test_names_that_an_installation_leaves_open_limit_nothing():
    def named(configuration):
        made = roles(Installation("op", "system", configuration=configuration))
        rules = [
            rule for role in made for rule in role.get("rules", ()) if "operatorconfigurations" in rule["resources"]
        ]
        return rules[0].get("resourceNames")

    assert named("main") == ["main"]
    assert named("") is None


def test_an_operator_may_take_the_lease_of_its_id_and_no_other():
    made = roles(Installation("op", "system", controller_id="second"))
    rules = [rule for role in made for rule in role.get("rules", ()) if "leases" in rule["resources"]]
    assert [rule.get("resourceNames") for rule in rules] == [None, ["howdah-second"], ["howdah-second"]]
